// What the nodes tell of themselves, every second: counters summed over their lives, and memory. What a node counted after its last sample
// before it was killed is not in the sums; they are lower bounds.
import { readHeap, resident } from '../lib/heap.mjs';
import { sleep } from '../lib/wait.mjs';
import { accounts } from './memory.mjs';

// `own` only where the node just told, so that it goes with heap.
function memoryOf(node, metrics) {
  const rss = node.running ? resident(node.pid) : undefined;
  if (!rss) return null;
  const own = metrics && node.state === 'up' ? Object.fromEntries(Object.keys(accounts).map((name) => [name, metrics[name] ?? 0])) : undefined;
  return { rss, heap: readHeap(node.heapFile)?.bytes, own };
}

export class Samples {
  rows = []; // { t_ms, nodes: [{ rss, heap, own: {gauge: bytes} } or null...], sums: {counter: number} }
  #before = new Map(); // node -> life -> last counters
  #on = true;

  constructor(nodes, since) {
    this.nodes = nodes;
    this.since = since;
  }

  async run() {
    while (this.#on) {
      const begin = performance.now();
      await this.take();
      await sleep(Math.max(50, 1000 - (performance.now() - begin)));
    }
  }

  stop() {
    this.#on = false;
  }

  async take() {
    const read = await Promise.all(this.nodes.map((node) => this.read(node)));
    this.rows.push({
      t_ms: Math.round(performance.now() - this.since),
      nodes: this.nodes.map((node, i) => memoryOf(node, read[i])),
      sums: this.sums(),
    });
  }

  // Also before a node is killed, so that little is missing. Gives the metrics, or undefined where the node does not answer at this moment;
  // then its last counters stand.
  async read(node) {
    if (!node.answering) return undefined;
    const life = `${node.index}.${node.starts}`;
    try {
      const metrics = await node.metrics();
      this.#before.set(life, metrics);
      return metrics;
    } catch {
      return undefined;
    }
  }

  sums() {
    const sums = {};
    for (const counters of this.#before.values()) {
      for (const [name, value] of Object.entries(counters)) if (name.endsWith('_total')) sums[name] = (sums[name] ?? 0) + value;
    }
    return sums;
  }

  // Of a counter, a second, between two moments; where the machine stood still and there are no two samples, between the next ones around.
  rate(name, from, to) {
    const last = this.rows.findLast(({ t_ms }) => t_ms <= to) ?? this.rows[1];
    let first = this.rows.find(({ t_ms }) => t_ms >= from);
    if (!first || !last || first.t_ms >= last.t_ms) first = this.rows.findLast(({ t_ms }) => t_ms < Math.min(from, last?.t_ms));
    if (!first) return undefined;
    return ((last.sums[name] ?? 0) - (first.sums[name] ?? 0)) / ((last.t_ms - first.t_ms) / 1000);
  }
}
