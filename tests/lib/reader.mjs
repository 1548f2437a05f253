// A client of cursor channels that may stop reading, and says of every id what became of it: given, declared by a gap, or missing.
import assert from 'node:assert/strict';
import { WebSocket } from './phoenix.mjs';
import { within } from './wait.mjs';

const split = (id) => {
  const at = id.lastIndexOf('-');
  return [id.slice(0, at), Number(id.slice(at + 1))];
};

// What one channel was told, over all its connections: `log` has ids, gaps and join replies in their order.
export class Ledger {
  constructor() {
    this.log = [];
    this.cursor = new Map();
  }

  get ids() {
    return this.log.flatMap((entry) => entry.id ?? []);
  }
  get gaps() {
    return this.log.flatMap((entry) => entry.gap ?? []);
  }
  get skipped() {
    return this.gaps.reduce((sum, gap) => sum + (gap.skipped ?? 0), 0);
  }
  get cursorList() {
    return [...this.cursor].map(([origin, seq]) => `${origin}-${seq}`);
  }

  raise(id) {
    const [origin, seq] = split(id);
    this.cursor.set(origin, Math.max(seq, this.cursor.get(origin) ?? 0));
  }

  joined({ cursor, ...response }) {
    this.cursor.clear();
    cursor.forEach((id) => this.raise(id));
    this.log.push({ joined: response });
  }
  message(id, payload) {
    this.raise(id);
    this.log.push({ id, payload });
  }
  gap(gap) {
    gap.cursor.forEach((id) => this.raise(id));
    this.log.push({ gap });
  }

  has(id) {
    const [origin, seq] = split(id);
    return (this.cursor.get(origin) ?? 0) >= seq;
  }

  // Each of the published ids was given once, or was declared before anything later of its origin was given, never both. Returns how many
  // of them were declared only.
  check(published) {
    const all = new Map(); // origin -> seqs
    for (const id of published) {
      const [origin, seq] = split(id);
      all.set(origin, [...(all.get(origin) ?? []), seq]);
    }
    let declared = 0;
    for (const [origin, seqs] of all) {
      seqs.sort((a, b) => a - b);
      let next = 0;
      const passed = (to, what) => {
        while (next < seqs.length && seqs[next] < to) assert.fail(`${origin}-${seqs[next++]} is missing without a word before ${what}`);
      };
      for (const entry of this.log) {
        if (entry.id) {
          const [from, seq] = split(entry.id);
          if (from !== origin) continue;
          passed(seq, entry.id);
          assert.equal(seqs[next++], seq, `${entry.id} came in order and once`);
        } else if (entry.gap?.origin === null) {
          const at = entry.gap.cursor.map(split).find(([name]) => name === origin)?.[1] ?? 0; // anything up to there may be missing
          for (; next < seqs.length && seqs[next] <= at; next++) declared++;
        } else if (entry.gap?.origin === origin) {
          const { from, to, skipped = 0 } = entry.gap;
          passed(from, `the gap ${from}..${to}`);
          let inside = 0;
          for (; next < seqs.length && seqs[next] <= to; next++) inside++;
          assert.ok(inside > 0 || skipped === 0, `the gap ${origin} ${from}..${to} has skipped ${skipped}`);
          declared += inside;
        }
      }
      passed(Infinity, 'the end');
    }
    return declared;
  }
}

// One socket with channels, each with a ledger of its own.
export class Reader {
  static async open(t, node) {
    const reader = new Reader();
    reader.socket = new WebSocket(`${node.ws}/websocket?vsn=2.0.0`);
    reader.socket.on('error', () => {});
    reader.ledgers = new Map();
    reader.replies = new Map();
    reader.refs = 0;
    reader.closed = new Promise((resolve) => reader.socket.once('close', (code) => resolve((reader.code = code))));
    reader.socket.on('message', (data) => reader.received(JSON.parse(data)));
    t.after(() => reader.socket.terminate());
    await within(10_000, 'a socket', new Promise((resolve) => reader.socket.once('open', resolve)));
    return reader;
  }

  received([, ref, topic, event, payload]) {
    const ledger = this.ledgers.get(topic);
    if (this.cut) return;
    if (event === 'phx_reply') {
      if (ref === this.joinRef) ledger?.joined(payload.response);
      this.replies.get(ref)?.(payload);
    } else if (event === 'gap') {
      ledger.gap(payload);
      if (this.cutAtGap) {
        this.cut = true; // as if the connection had broken right here
        this.socket.terminate();
      }
    } else if (event === 'msg') {
      ledger.message(ref, payload);
    }
  }

  ask(topic, event, payload) {
    const ref = String(++this.refs);
    if (event === 'phx_join') this.joinRef = ref;
    const reply = new Promise((resolve) => this.replies.set(ref, resolve));
    this.socket.send(JSON.stringify([topic === 'phoenix' ? null : ref, ref, topic, event, payload]));
    return within(20_000, `the reply to ${event}`, reply);
  }

  // Goes on from the ledger's cursor.
  async join(topic, ledger = new Ledger()) {
    this.ledgers.set(topic, ledger);
    const { status, response } = await this.ask(topic, 'phx_join', { cursor: ledger.cursorList });
    assert.equal(status, 'ok', JSON.stringify(response));
    return ledger;
  }

  heartbeat() {
    return this.ask('phoenix', 'heartbeat', {});
  }
  pause() {
    this.socket.pause();
  }
  resume() {
    this.socket.resume();
  }
}
