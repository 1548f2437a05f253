// A node of the cluster under test: a real process in a network namespace, with a proxy before its mesh ports and a wall clock that can jump.
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { heapEnv, heapLibraries } from '../lib/heap.mjs';
import { meshSecret, Node } from '../lib/node.mjs';
import { patience, sleep, until } from '../lib/wait.mjs';
import { clientIp, meshIp, spaces } from './network.mjs';

const ports = { clients: 4000, api: 4001, mesh: 4002, ask: 4003, behind: 1000 };
const READY_MS = 20_000;
const END_MS = 15_000;

// The caps are small on purpose: ordinary load fits into memory for longer than any fault lasts, a burst leaves no room for it. The age of
// logs is that of keys as well: what a node holds must be full long before its memory is judged.
const options = {
  workers: 2,
  drain_ms: 500,
  leave_ms: 3000,
  memory_bytes: '24MiB',
  log_bytes: '24MiB',
  log_age: '4m',
  worker_inbox_bytes: '4MiB',
  hub_inbox_bytes: '32MiB',
};
const rules = {
  'room:*': { join: 'anyone', push: 'anyone', history_count: 1500, history_bytes: '1MiB', history_age: '10m' },
  'burst:*': { join: 'anyone', push: 'nobody', history_count: 40, history_bytes: '1MiB', history_age: '10m' },
};

export class Member extends Node {
  state = 'down'; // up, frozen, down, starting, leaving
  lives = []; // the incarnation of each start
  complaints = []; // what a node of this cluster must never do

  // events(text): for the log of the run; gone(origin): told before that origin is killed.
  static async make({ pid, index, n, folder, clockLibrary, events, gone }) {
    const others = Array.from({ length: n }, (_, i) => i + 1).filter((other) => other !== index);
    const mesh = meshIp(index);
    const node = await Member.create({
      name: `node${index}`,
      folder,
      rules,
      secret: meshSecret,
      mutation: process.env.FANMESH_MUTATION,
      options: {
        ...options,
        listen: `${clientIp(index)}:${ports.clients}`,
        api_listen: `${clientIp(index)}:${ports.api}`,
        mesh_listen: `127.0.0.1:${ports.mesh + ports.behind}`,
        mesh_ask_listen: `127.0.0.1:${ports.ask + ports.behind}`,
        mesh_advertise: `${mesh}:${ports.mesh}`,
        mesh_ask_advertise: `${mesh}:${ports.ask}`,
        join: others.map((other) => `${meshIp(other)}:${ports.mesh}`).join(','),
      },
    });
    Object.assign(node, { index, events, gone, host: clientIp(index), port: ports.clients, apiPort: ports.api });
    node.under = ['ip', 'netns', 'exec', spaces(pid).node(index)];
    node.clockFile = path.join(folder, `node${index}.clock`);
    node.setClock(0);
    // A sanitizer's runtime wants to be loaded first, and need not be.
    const sanitizer = [process.env.ASAN_OPTIONS, 'verify_asan_link_order=0'].filter(Boolean).join(':');
    node.heapFile = path.join(folder, `node${index}.heap`);
    node.env = { LD_PRELOAD: [...heapLibraries, clockLibrary].join(':'), CLOCK_JUMP_FILE: node.clockFile, ASAN_OPTIONS: sanitizer, ...heapEnv(node.heapFile) };
    node.proxy = new Proxy(node, [
      [mesh, ports.mesh, '127.0.0.1', ports.mesh + ports.behind],
      [mesh, ports.ask, '127.0.0.1', ports.ask + ports.behind],
    ]);
    return node;
  }

  note(text) {
    this.events?.(`node ${this.index}: ${text}`);
  }

  complain(text) {
    this.complaints.push(text);
    this.note(`WRONG: ${text}`);
  }

  get answering() {
    return this.state === 'up' || this.state === 'starting';
  }

  async cluster() {
    return (await this.request('GET', '/api/cluster', { limitMs: 3000 })).body;
  }

  async comeBack() {
    this.state = 'starting';
    this.spawn();
    const { child } = this;
    this.exited.then(({ code, signal, error }) => {
      if (this.child !== child || ['down', 'leaving'].includes(this.state)) return;
      this.state = 'down';
      this.complain(`ended by itself: ${error ?? signal ?? `exit code ${code}`}`);
    });
    this.started = until(`${this.name} answers`, async () => (await this.cluster()).self.incarnation, READY_MS, 50).then((incarnation) => {
      this.lives.push(incarnation);
      this.note(`runs as ${incarnation}`);
    });
    this.settled = this.started
      .then(() => until(`${this.name} is ready`, async () => (await fetch(`${this.api}/readyz`)).status === 200, READY_MS, 50))
      .then(() => this.state === 'starting' && (this.state = 'up'))
      .catch((error) => ['starting', 'up'].includes(this.state) && this.complain(error.message));
    await this.started.catch(() => {});
  }

  // As when the machine dies.
  async die() {
    await this.started?.catch(() => {});
    this.gone(this.lives.at(-1));
    this.state = 'down';
    await this.kill();
  }

  async renew() {
    this.state = 'leaving';
    this.child.kill('SIGTERM');
    const end = await Promise.race([this.exited, sleep(END_MS * patience)]);
    this.state = 'down';
    if (!end) {
      this.complain(`did not end within ${END_MS / 1000} s after TERM`);
      await this.kill();
    } else if (end.code !== 0) {
      this.complain(`ended with ${end.signal ?? end.code} after TERM`);
    }
    await this.comeBack();
    await this.settled;
  }

  freeze() {
    this.before = this.state;
    this.state = 'frozen';
    this.child.kill('SIGSTOP');
  }

  thaw() {
    this.child.kill('SIGCONT');
    if (this.state === 'frozen') this.state = this.before;
  }

  setClock(ms) {
    const offset = Buffer.alloc(8);
    offset.writeBigInt64LE(BigInt(ms) * 1_000_000n);
    // In place: the node has the file mapped.
    const fd = fs.openSync(this.clockFile, fs.constants.O_WRONLY | fs.constants.O_CREAT);
    fs.writeSync(fd, offset, 0, 8, 0);
    fs.closeSync(fd);
  }

  // All of /metrics, each summed over its labels.
  async metrics() {
    const { text } = await this.request('GET', '/metrics', { limitMs: 2000 });
    const sums = {};
    for (const [, name, value] of text.matchAll(/^([a-zA-Z_:]+)(?:\{[^}]*\})? ([-+.\deE]+)/gm)) sums[name] = (sums[name] ?? 0) + Number(value);
    return sums;
  }
}

// The process that stands before a node's mesh ports.
class Proxy {
  #asked = 0;
  #answers = new Map();

  constructor(node, listens) {
    const script = new URL('proxy.mjs', import.meta.url).pathname;
    const [program, ...args] = [...node.under, process.execPath, script, JSON.stringify(listens)];
    this.child = spawn(program, args, { stdio: ['pipe', 'pipe', fs.openSync(path.join(node.folder, `proxy${node.index}.log`), 'a')] });
    this.child.on('exit', (code, signal) => !this.closing && node.complain(`its proxy ended (${signal ?? code})`));
    this.child.stdin.on('error', () => {});
    createInterface({ input: this.child.stdout }).on('line', (id) => {
      this.#answers.get(Number(id))?.();
      this.#answers.delete(Number(id));
    });
  }

  tell(command) {
    const id = ++this.#asked;
    this.child.stdin.write(`${JSON.stringify({ id, ...command })}\n`);
    return new Promise((resolve) => this.#answers.set(id, resolve));
  }

  close() {
    this.closing = true;
    this.child.stdin.end();
  }
}

// The proxies' rules for each link, where faults overlap. A link between two nodes may pass either's proxy, as one or the other dialled, so both are
// told; what one sees coming in the other sees going out.
export class Mesh {
  #nodes;
  #active = new Map(); // the args of a fault -> its rules

  constructor(nodes) {
    this.#nodes = nodes;
  }

  add(args, rules) {
    this.#active.set(args, rules);
    return this.#tell(args.from, args.to);
  }

  drop(args) {
    this.#active.delete(args);
    return this.#tell(args.from, args.to);
  }

  reset({ from, to }) {
    return this.#both(from, to, () => ({ reset: true }));
  }

  #both(a, b, command) {
    return Promise.all([
      this.#nodes[a].proxy.tell({ peer: meshIp(b), ...command(a, b) }),
      this.#nodes[b].proxy.tell({ peer: meshIp(a), ...command(b, a) }),
    ]);
  }

  #tell(a, b) {
    return this.#both(a, b, (here, there) => {
      const sum = {};
      for (const [{ from, to }, rules] of this.#active) {
        if (!((from === here && to === there) || (from === there && to === here))) continue;
        if (rules.delay) Object.assign(sum, { delay: Math.max(sum.delay ?? 0, rules.delay), jitter: Math.max(sum.jitter ?? 0, rules.jitter) });
        if (rules.rate) sum.rate = Math.min(sum.rate ?? Infinity, rules.rate);
        // rules.to: what travels to fault.to; rules.from: what travels to fault.from.
        const [incoming, outgoing] = to === here ? [rules.to, rules.from] : [rules.from, rules.to];
        if (incoming) sum.in = incoming;
        if (outgoing) sum.out = outgoing;
      }
      return { rules: sum };
    });
  }
}
