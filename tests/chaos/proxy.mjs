// A TCP proxy before a node's mesh ports that delays, slows down, stops or resets what passes, told so by lines of JSON on its standard input;
// each is answered with its number on standard output. Run in the node's namespace:
//
//   node proxy.mjs '[["10.77.1.1",4002,"127.0.0.1",5002]]'     listen here, pass on to there
//
//   {"id":1,"peer":"10.77.1.2","rules":{"delay":20,"jitter":10,"rate":20000,"in":"stall","out":"swallow"}}
//   {"id":2,"peer":"10.77.1.2","reset":true}
//
// `in` is what comes from the peer, `out` what goes to it. stall: nothing is read, senders see their buffers fill. swallow: what is sent vanishes,
// and nobody learns of a closed connection either; such a connection can't go on afterwards, so the end of the rule resets it.
import net from 'node:net';
import { createInterface } from 'node:readline';

const QUEUE_MAX = 64 * 1024;
const CHUNK = 4096;
const rules = new Map(); // peer -> rules
const pairs = new Set();

// One direction of one connection.
class Flow {
  #queue = [];
  #bytes = 0;
  #due = 0;
  #timer;
  #allowance = 0;
  #counted = performance.now();
  #blocked = false;
  lost = false;

  constructor(pair, way, from, to) {
    Object.assign(this, { pair, way, from, to });
    from.on('data', (chunk) => this.#take(chunk));
    to.on('drain', () => {
      this.#blocked = false;
      this.run();
    });
  }

  get rule() {
    return rules.get(this.pair.peer) ?? {};
  }

  #take(chunk) {
    const { delay = 0, jitter = 0 } = this.rule;
    if (this.rule[this.way] === 'swallow') {
      this.lost = true;
      return;
    }
    this.#due = Math.max(this.#due, performance.now() + delay + Math.random() * jitter); // in order, whatever the jitter
    for (let at = 0; at < chunk.length; at += CHUNK) this.#queue.push({ due: this.#due, bytes: chunk.subarray(at, at + CHUNK) });
    this.#bytes += chunk.length;
    this.run();
  }

  // Passes on what is due and allowed, and comes back when more will be.
  run() {
    clearTimeout(this.#timer);
    const held = this.rule[this.way];
    if (held || this.#bytes > QUEUE_MAX) {
      if (held === 'swallow') this.from.resume();
      else this.from.pause();
    } else {
      this.from.resume();
    }
    if (held) return;
    const now = performance.now();
    const rate = this.rule.rate ?? Infinity;
    this.#allowance = Math.min(CHUNK, this.#allowance + ((now - this.#counted) / 1000) * rate);
    this.#counted = now;
    while (this.#queue.length && !this.#blocked && this.#queue[0].due <= now && this.#allowance >= this.#queue[0].bytes.length) {
      const { bytes } = this.#queue.shift();
      this.#bytes -= bytes.length;
      if (rate !== Infinity) this.#allowance -= bytes.length;
      else this.#allowance = CHUNK;
      this.#blocked = !this.to.write(bytes);
    }
    if (this.#bytes <= QUEUE_MAX && this.from.isPaused()) this.from.resume();
    if (this.#queue.length && !this.#blocked) {
      const short = Math.max(0, this.#queue[0].bytes.length - this.#allowance);
      const wait = Math.max(this.#queue[0].due - now, rate === Infinity ? 0 : (short / rate) * 1000, 1);
      this.#timer = setTimeout(() => this.run(), wait);
    }
  }

  stop() {
    clearTimeout(this.#timer);
  }
}

class Pair {
  constructor(client, target) {
    this.peer = client.remoteAddress;
    this.ends = [client, net.connect({ ...target, noDelay: true })];
    this.flows = [new Flow(this, 'in', this.ends[0], this.ends[1]), new Flow(this, 'out', this.ends[1], this.ends[0])];
    this.over = false;
    pairs.add(this);
    for (const flow of this.flows) {
      flow.from.on('error', () => {});
      flow.from.on('close', () => this.ended());
    }
  }

  // While a direction is held, the other end is not told that this one is gone.
  ended() {
    this.over = true;
    const rule = rules.get(this.peer) ?? {};
    if (!rule.in && !rule.out) this.reset();
  }

  reset() {
    pairs.delete(this);
    for (const flow of this.flows) flow.stop();
    for (const end of this.ends) end.resetAndDestroy();
  }

  changed() {
    const rule = rules.get(this.peer) ?? {};
    if (this.flows.some((flow) => flow.lost && rule[flow.way] !== 'swallow')) this.reset();
    else if (this.over && !rule.in && !rule.out) this.reset();
    else for (const flow of this.flows) flow.run();
  }
}

for (const [host, port, targetHost, targetPort] of JSON.parse(process.argv[2])) {
  net.createServer({ noDelay: true }, (client) => new Pair(client, { host: targetHost, port: targetPort })).listen(port, host);
}
createInterface({ input: process.stdin })
  .on('line', (line) => {
    const { id, peer, rules: wanted, reset } = JSON.parse(line);
    if (wanted) rules.set(peer, wanted);
    for (const pair of [...pairs].filter((pair) => pair.peer === peer)) {
      if (reset) pair.reset();
      else pair.changed();
    }
    console.log(id);
  })
  .on('close', () => process.exit(0));
