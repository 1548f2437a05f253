import { built, versionOf } from '../host.mjs';

const secret = 'only-for-this-comparison';

function node(name, [port, api, mesh, ask], { join, more = [] } = {}) {
  const linked = mesh
    ? ['--mesh-listen', `127.0.0.1:${mesh}`, '--mesh-ask-listen', `127.0.0.1:${ask}`, '--secret', secret, ...(join ? ['--join', `127.0.0.1:${join}`] : [])]
    : ['--mesh-listen', 'none'];
  return {
    command: [
      built('fanmesh'), 'serve', '--dev', '--name', name, '--workers', '1', '--log-level', 'error', '--listen', `127.0.0.1:${port}`,
      '--api-listen', `127.0.0.1:${api}`, '--accepts-per-s', '0', '--drain-ms', '0', ...linked, ...more,
    ],
    port,
  };
}

// Every metric of a node, by its name.
export async function metricsOf(api) {
  const text = await (await fetch(`${api}/metrics`)).text();
  return Object.fromEntries(text.split('\n').filter((line) => /^\w+ /.test(line)).map((line) => [line.split(' ')[0], Number(line.split(' ')[1])]));
}

// One node without mesh, or n that are linked: published at the first, subscribers at the last. more: options of each.
export const nodes = (n, more) => async (place) => {
  const ports = [];
  while (ports.length < n) ports.push(await place.ports(n > 1 ? 4 : 2));
  const apis = ports.map(([, api]) => `http://127.0.0.1:${api}`);
  return {
    processes: ports.map((each, i) => node(`node${i + 1}`, each, { join: i ? ports[0][2] : undefined, more })),
    ready: async () => (await Promise.all(apis.map(metricsOf))).every(({ fanmesh_peers, fanmesh_ready }) => fanmesh_peers === n - 1 && fanmesh_ready === 1),
    load: { framing: 'phoenix', nodes: `ws://127.0.0.1:${ports.at(-1)[0]}`, ...(n > 1 ? { api: apis[0] } : {}) },
    apis,
  };
};

export default {
  name: 'fanmesh',
  title: 'fanmesh',
  version: () => versionOf([built('fanmesh'), '--version'], /(\d[\w.+-]*)/),
  settings: 'one worker, --dev rules, Phoenix channels with cursors (messages are kept for resuming), accepts not throttled; cluster: three nodes, sealed mesh',
  one: nodes(1),
  three: nodes(3),
};
