import { npmVersion, root } from '../host.mjs';

export default {
  name: 'socketio',
  title: 'Socket.IO',
  version: () => `${npmVersion('socket.io')}, Node ${process.versions.node}`,
  settings: 'WebSocket only, ws with bufferutil, perMessageDeflate off, the first request discarded, in-memory adapter',
  async one(place) {
    const [port] = await place.ports(1);
    return {
      processes: [{ command: [process.execPath, `${root}/load/peers/socketio/server.mjs`, port], port }],
      load: { framing: 'socketio', nodes: `ws://127.0.0.1:${port}` },
    };
  },
};
