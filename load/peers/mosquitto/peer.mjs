import { find, versionOf } from '../host.mjs';

export default {
  name: 'mosquitto',
  title: 'mosquitto',
  version: () => versionOf([find('mosquitto'), '-h'], /version ([\d.]+)/),
  settings: 'MQTT 3.1.1 at QoS 0 over its WebSocket listener, anonymous, no persistence, no limit on clients',
  async one(place) {
    const [port, native] = await place.ports(2);
    const config = place.fill('mosquitto', 'mosquitto.conf', { port, native });
    return { processes: [{ command: [find('mosquitto'), '-c', config], port }], load: { framing: 'mqtt', nodes: `ws://127.0.0.1:${port}` } };
  },
};
