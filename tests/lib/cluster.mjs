// Several nodes that are one cluster.
import { after } from 'node:test';
import { Node, workFolder } from './node.mjs';
import { patience, until } from './wait.mjs';

// What each node says of the others, for the message of a test that waited for something else.
async function saidBy(node) {
  const numbers = /^fanmesh_(peers|ready|(mesh|dropped|repair|envelopes|inbox)\w*?)(\{.*\})? (?!0$)/;
  const lines = (text) => text.split('\n').filter((line) => numbers.test(line)).join(', ');
  try {
    const limitMs = 3000 * patience;
    const { body } = await node.request('GET', '/api/cluster', { limitMs });
    const { text } = await node.request('GET', '/metrics', { limitMs });
    return `${node.name}: ${JSON.stringify(body.peers)}\n  ${lines(text)}\n  ${node.log.split('\n').slice(-12).join('\n  ')}`;
  } catch (error) {
    return `${node.name} does not answer: ${error.message}`;
  }
}

// Like until(); if it was in vain, tells how each node saw the others by then.
export function untilNodes(nodes, ...wait) {
  return until(...wait).catch(async (error) => {
    throw new Error(`${error.message}\n${(await Promise.all(nodes.map(saidBy))).join('\n')}`);
  });
}

export class Cluster {
  constructor(nodes) {
    this.nodes = nodes;
  }

  until(...wait) {
    return untilNodes(this.nodes, ...wait);
  }

  // Every node sees all others.
  async linked(nodes = this.nodes, limitMs = 30_000) {
    for (const node of nodes) {
      await this.until(
        `${node.name} sees ${nodes.length - 1} peers`,
        async () => (await node.metric('fanmesh_peers')) === nodes.length - 1,
        limitMs,
        50,
      );
    }
  }

  // Starts a node again, after kill() or stop() where it still runs; it joins whoever else runs, as a node of a real deployment would.
  async restart(node) {
    await node.stop();
    node.options.join = this.nodes.filter((other) => other !== node && other.running).map((other) => other.meshAddress).join(',') || null;
    node.options.found_ms ??= '12s'; // on a busy machine these may not answer for a while; without them it would have forgotten everything
    await node.start();
    await this.linked(this.nodes.filter((other) => other.running));
  }

  // All together: one after another would make each wait for the farewell of the next.
  async stop() {
    const ends = await Promise.allSettled(this.nodes.map((node) => node.stop()));
    const bad = ends.find((end) => end.status === 'rejected');
    if (bad) throw bad.reason;
    for (const node of this.nodes) node.checkLog();
  }
}

async function launch(cluster, n, { options = {}, ...rest } = {}) {
  const folder = workFolder();
  for (let i = 0; i < n; i++) {
    const node = await Node.create({ name: `node${i + 1}`, folder, options, join: cluster.nodes[0], ...rest });
    cluster.nodes.push(node);
    await node.start();
  }
  if (n > 1) await cluster.linked();
  return cluster;
}

// n nodes, ready and linked; each but the first joins the first. Ended when the test `t` ends.
export function startCluster(t, n = 3, config = {}) {
  const cluster = new Cluster([]);
  t.after(() => cluster.stop());
  return launch(cluster, n, config);
}

// One node alone.
export async function startNode(t, config = {}) {
  return (await startCluster(t, 1, config)).nodes[0];
}

// For a whole test file, awaited at its top level: the cluster is ended after the file's last test. (Hooks of the root test run in their
// order, in Node 20, and those behind one that fails not at all; an `after` within a `before` runs at once.)
export function sharedCluster(n = 3, config = {}) {
  const cluster = new Cluster([]);
  after(() => cluster.stop());
  return launch(cluster, n, config);
}
