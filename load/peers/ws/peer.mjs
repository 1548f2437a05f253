import { npmVersion, root } from '../host.mjs';

export default {
  name: 'ws',
  title: 'node ws',
  version: () => `${npmVersion('ws')}, Node ${process.versions.node}`,
  settings: 'perMessageDeflate off, bufferutil, send() to each subscriber as in its README',
  async one(place) {
    const [port] = await place.ports(1);
    return {
      processes: [{ command: [process.execPath, `${root}/load/peers/ws/server.mjs`, port], port }],
      load: { framing: 'websocket', nodes: `ws://127.0.0.1:${port}/{topic}` },
    };
  },
};
