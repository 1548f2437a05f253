import { built, versionOf } from '../host.mjs';

const secret = 'only-for-this-comparison';

function node(name, [port, api, mesh, ask], join) {
  const linked = mesh
    ? ['--mesh-listen', `127.0.0.1:${mesh}`, '--mesh-ask-listen', `127.0.0.1:${ask}`, '--secret', secret, ...(join ? ['--join', `127.0.0.1:${join}`] : [])]
    : ['--mesh-listen', 'none'];
  return {
    command: [
      built('fanmesh'), 'serve', '--dev', '--name', name, '--workers', '1', '--log-level', 'error', '--listen', `127.0.0.1:${port}`,
      '--api-listen', `127.0.0.1:${api}`, '--accepts-per-s', '0', '--drain-ms', '0', ...linked,
    ],
    port,
  };
}

const peers = async ([, api]) => Number((await (await fetch(`http://127.0.0.1:${api}/metrics`)).text()).match(/^fanmesh_peers ([0-9]+)/m)?.[1]);

export default {
  name: 'fanmesh',
  title: 'fanmesh',
  version: () => versionOf([built('fanmesh'), '--version'], /(\d[\w.+-]*)/),
  settings: 'one worker, --dev rules, Phoenix channels with cursors (messages are kept for resuming), accepts not throttled; cluster: three nodes, sealed mesh',
  async one(place) {
    const ports = await place.ports(2);
    return { processes: [node('node1', ports)], load: { framing: 'phoenix', nodes: `ws://127.0.0.1:${ports[0]}` } };
  },
  async three(place) {
    const ports = [await place.ports(4), await place.ports(4), await place.ports(4)];
    return {
      processes: ports.map((each, i) => node(`node${i + 1}`, each, i ? ports[0][2] : undefined)),
      ready: async () => (await Promise.all(ports.map(peers))).every((n) => n === 2),
      load: { framing: 'phoenix', nodes: `ws://127.0.0.1:${ports[1][0]}`, api: `http://127.0.0.1:${ports[0][1]}` },
    };
  },
};
