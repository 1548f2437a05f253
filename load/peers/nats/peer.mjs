import { find, versionOf } from '../host.mjs';

function server(place, name, [port, native, monitor, route], routes) {
  const others = routes?.map((to) => `"nats://127.0.0.1:${to}"`).join(', ');
  const cluster = routes ? `cluster {\n    name: "compare"\n    listen: "127.0.0.1:${route}"\n    routes: [${others}]\n}` : '';
  const config = place.fill('nats', 'nats.conf', { name, port, native, monitor, cluster, folder: place.folder }, `${name}.conf`);
  return { command: [find('nats-server'), '-c', config], port };
}

export default {
  name: 'nats',
  title: 'NATS',
  version: () => versionOf([find('nats-server'), '--version'], /v([\d.]+)/),
  settings: 'core NATS over its WebSocket listener, no authorization, no TLS, no compression; cluster: three servers with routes',
  async one(place) {
    const ports = await place.ports(3);
    return { processes: [server(place, 'n1', ports)], load: { framing: 'nats', nodes: `ws://127.0.0.1:${ports[0]}` } };
  },
  async three(place) {
    const ports = [await place.ports(4), await place.ports(4), await place.ports(4)];
    const routes = ports.map(([, , , route]) => route);
    const links = async ([, , monitor]) => (await (await fetch(`http://127.0.0.1:${monitor}/routez`)).json()).num_routes;
    return {
      processes: ports.map((each, i) => server(place, `n${i + 1}`, each, routes.toSpliced(i, 1))),
      ready: async () => (await Promise.all(ports.map(links))).every((n) => n >= 2),
      load: { framing: 'nats', nodes: `ws://127.0.0.1:${ports[1][0]}`, publish_to: `ws://127.0.0.1:${ports[0][0]}` },
    };
  },
};
