// What the nodes tell of themselves, every second: counters summed over their lives, and memory. What a node counted after its last sample
// before it was killed is not in the sums; they are lower bounds.
import { sleep } from '../lib/wait.mjs';

export class Samples {
  rows = []; // { t_ms, rss: [bytes or null...], sums: {counter: number} }
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
    await Promise.all(this.nodes.map((node) => this.read(node)));
    this.rows.push({
      t_ms: Math.round(performance.now() - this.since),
      rss: this.nodes.map((node) => (node.running ? (node.rss() ?? null) : null)),
      up: this.nodes.map((node) => node.state === 'up'),
      sums: this.sums(),
    });
  }

  // Also before a node is killed, so that little is missing.
  async read(node) {
    if (!node.answering) return;
    const life = `${node.index}.${node.starts}`;
    try {
      this.#before.set(life, await node.metrics());
    } catch {
      // Not answering at this moment: the last sample stands.
    }
  }

  sums() {
    const sums = {};
    for (const counters of this.#before.values()) {
      for (const [name, value] of Object.entries(counters)) if (name.endsWith('_total')) sums[name] = (sums[name] ?? 0) + value;
    }
    return sums;
  }

  // Of a counter, a second, between two moments; undefined without samples there.
  rate(name, from, to) {
    const rows = this.rows.filter(({ t_ms }) => t_ms >= from && t_ms <= to);
    if (rows.length < 2) return undefined;
    const [first, last] = [rows[0], rows.at(-1)];
    return ((last.sums[name] ?? 0) - (first.sums[name] ?? 0)) / ((last.t_ms - first.t_ms) / 1000);
  }

  // Medians of the whole cluster's memory, a minute each, of the moments at which every node ran; null where there was none.
  memoryByMinute() {
    const minutes = [];
    for (const { t_ms, rss, up } of this.rows) {
      if (!up.every(Boolean) || rss.some((bytes) => !bytes)) continue;
      (minutes[Math.floor(t_ms / 60_000)] ??= []).push(rss.reduce((a, b) => a + b));
    }
    return Array.from(minutes, (sums) => (sums ? sums.sort((a, b) => a - b)[Math.floor(sums.length / 2)] : null));
  }
}
