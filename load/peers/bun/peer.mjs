import { npm, root, versionOf } from '../host.mjs';

const binary = () => npm(`@oven/bun-linux-${{ x64: 'x64', arm64: 'aarch64' }[process.arch]}/bin/bun`);

export default {
  name: 'bun',
  title: 'Bun',
  version: () => versionOf([binary(), '--version'], /^([\d.]+)/),
  settings: 'Bun.serve with its own publish, which is uWebSockets; perMessageDeflate off, no idle timeout',
  async one(place) {
    const [port] = await place.ports(1);
    return {
      processes: [{ command: [binary(), `${root}/load/peers/bun/server.js`, port], port }],
      load: { framing: 'websocket', nodes: `ws://127.0.0.1:${port}/{topic}` },
    };
  },
};
