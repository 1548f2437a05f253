import { built } from '../host.mjs';

export default {
  name: 'floor',
  title: 'floor',
  version: () => 'load/floor',
  settings: 'one epoll loop, one shared frame, one send() a subscriber',
  async one(place) {
    const [port] = await place.ports(1);
    return { processes: [{ command: [built('load/floor'), '--port', port], port }], load: { framing: 'phoenix', nodes: `ws://127.0.0.1:${port}` } };
  },
};
