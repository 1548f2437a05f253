// The links of a mesh, one by one. Every node is reached through relays of its own, and a relay knows who dials by the process that holds the
// other end of the connection (/proc). So the link between two nodes can be cut, delayed, or made deaf in one direction, on both planes of
// the mesh and whichever of the two dials, while all other links stay as they are.
import fs from 'node:fs/promises';
import net from 'node:net';
import { Cluster } from './cluster.mjs';
import { Node, workFolder } from './node.mjs';
import { freePort } from './ports.mjs';

// The kernel's table of connections, which may be long and slow to read: never on this thread, and once for all who ask in one turn.
let reading;
function connections() {
  reading ??= new Promise(setImmediate).then(() => {
    reading = undefined;
    return fs.readFile('/proc/net/tcp', 'latin1');
  });
  return reading;
}

async function socketsOf({ pid, running }) {
  const folder = `/proc/${pid}/fd`;
  const fds = running ? await fs.readdir(folder).catch(() => []) : []; // ended, or closed meanwhile
  return Promise.all(fds.map((fd) => fs.readlink(`${folder}/${fd}`).catch(() => '')));
}

const inTable = (port) => `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')} `;

// Which of the nodes holds the other end of a connection that came to this port of ours. Both ports count: the system gives one local port
// to several connections, if they lead to different places. The table is not read in one piece: what is missed is looked for again.
async function holder(socket, nodes) {
  for (let tries = 0; tries < 3; tries++) {
    const node = await holderNow(socket, nodes);
    if (node) return node;
  }
  return undefined;
}
async function holderNow({ remotePort, localPort }, nodes) {
  if (!remotePort) return undefined; // closed at once
  const pair = `: ${inTable(remotePort)}${inTable(localPort)}`;
  const table = await connections();
  const at = table.indexOf(pair);
  if (at < 0) return undefined; // closed meanwhile
  const socket = `socket:[${table.slice(at, table.indexOf('\n', at)).trim().split(/\s+/)[9]}]`;
  for (const node of nodes) {
    if ((await socketsOf(node)).includes(socket)) return node;
  }
  return undefined;
}

// What is between two nodes.
class Link {
  #open = new Set();
  #isCut = false;
  #deaf = new Set();
  delayMs = 0;

  // Ends what is open; until heal() nothing new is let through.
  cut() {
    this.#isCut = true;
    for (const end of this.#open) end();
  }

  // From now on nothing that `sender` says arrives, though the connections stay; it arrives after heal() where they are still there.
  mute(sender) {
    this.#deaf.add(sender);
  }

  heal() {
    this.#isCut = false;
    this.#deaf.clear();
    this.delayMs = 0;
  }

  carry(from, to, dialler, dialled) {
    const end = () => {
      this.#open.delete(end);
      from.destroy();
      to.destroy();
    };
    this.#open.add(end);
    for (const socket of [from, to]) socket.on('error', () => {}).on('close', end);
    if (this.#isCut) return end();
    this.#flow(from, to, dialler);
    this.#flow(to, from, dialled);
  }

  // In order, each chunk delayMs after it came; while its sender is muted nothing is read.
  #flow(source, sink, sender) {
    const queue = [];
    const move = () => {
      const now = Date.now();
      const deaf = this.#deaf.has(sender);
      while (!deaf && queue.length && queue[0].due <= now) sink.write(queue.shift().chunk);
      const wait = queue.length ? Math.max(1, deaf ? 20 : queue[0].due - now) : 0;
      if (wait && !sink.destroyed) setTimeout(move, wait);
      if (deaf || queue.length > 1000 || sink.writableLength > 1 << 20) source.pause();
      else source.resume();
      if (source.isPaused() && !wait) sink.once('drain', move);
    };
    source.on('data', (chunk) => {
      queue.push({ due: Date.now() + this.delayMs, chunk });
      if (queue.length === 1) move();
    });
    source.resume();
  }
}

export class Links {
  #links = new Map();

  // Gives each node, before it is started, the addresses of relays to advertise.
  static async open(t, nodes) {
    const links = new Links();
    links.nodes = nodes;
    for (const node of nodes) {
      node.options.mesh_advertise = await links.#relay(t, node, () => node.meshPort);
      node.options.mesh_ask_advertise = await links.#relay(t, node, () => node.askPort);
    }
    return links;
  }

  async #relay(t, node, target) {
    const port = await freePort();
    const server = net.createServer({ pauseOnConnect: true }, async (from) => {
      from.on('error', () => {});
      const dialler = await holder(from, this.nodes);
      if (!dialler || from.destroyed) return from.destroy();
      this.between(dialler, node).carry(from, net.connect(target(), '127.0.0.1'), dialler, node);
    });
    await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
    t.after(() => {
      for (const link of this.#links.values()) link.cut();
      server.close();
    });
    return `127.0.0.1:${port}`;
  }

  between(a, b) {
    const key = [a.name, b.name].sort().join(' ');
    if (!this.#links.has(key)) this.#links.set(key, new Link());
    return this.#links.get(key);
  }

  // All links of one node.
  of(node) {
    return this.nodes.filter((other) => other !== node).map((other) => this.between(node, other));
  }

  // Every link between the one group and the other.
  across(some, others) {
    return some.flatMap((a) => others.map((b) => this.between(a, b)));
  }
}

// n nodes that are one cluster, over links that can be broken one by one. Ended when the test `t` ends.
export async function startMesh(t, n, config = {}) {
  const folder = workFolder();
  const cluster = new Cluster([]);
  t.after(() => cluster.stop());
  for (let i = 0; i < n; i++) cluster.nodes.push(await Node.create({ name: `node${i + 1}`, folder, ...config }));
  const [first, ...others] = cluster.nodes;
  const links = await Links.open(t, cluster.nodes);
  await first.start();
  for (const node of others) node.options.join = first.meshAddress;
  await Promise.all(others.map((node) => node.start()));
  await cluster.linked(cluster.nodes, 60_000);
  return { cluster, nodes: cluster.nodes, links };
}
