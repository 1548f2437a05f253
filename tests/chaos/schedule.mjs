// Which fault begins and ends when, drawn from a seed before the run begins: the same seed, length, number of nodes, list of kinds and spared node make the
// same schedule, whatever the machine does.
//
// A run is a row of chapters: storms, in which up to three faults overlap, and calms, in which everything is whole for a while; there nodes are
// restarted in good order, and it is measured how long the nodes take to agree again.
import { kinds } from './faults.mjs';
import { Random } from './random.mjs';

export const WARM_MS = 10_000; // load without faults: what later rates are compared with
const CALM_MS = 8000;
const OVERLAP_MAX = 3;

const overlap = (a, b) => a.at < b.until && b.at < a.until;
const again = (fault) => ({ at: fault.at, until: fault.until + (kinds[fault.kind].again_ms ?? 0) });
const stopped = (fault, n) => kinds[fault.kind].stops?.(fault.args, n) ?? [];

// Whether `fault` may happen beside those planned already.
function fits(fault, planned, n) {
  const beside = planned.filter((other) => overlap(again(fault), again(other)));
  if (beside.length >= OVERLAP_MAX) return false;
  const gone = beside.flatMap((other) => stopped(other, n));
  const mine = stopped(fault, n);
  if (mine.some((node) => gone.includes(node))) return false;
  if (new Set([...gone, ...mine]).size > n - 2) return false;
  // What is done to one node's process or clock twice at a time has no clear end.
  const { node } = fault.args;
  return node === undefined || !beside.some((other) => other.kind === fault.kind && other.args.node === node);
}

class Plan {
  faults = [];
  calms = [];

  constructor(seed, n, wanted, spare) {
    this.random = new Random(seed);
    this.n = n;
    this.mortal = Array.from({ length: n }, (_, i) => i + 1).filter((node) => node !== spare);
    this.storms = wanted.filter((kind) => !kinds[kind].alone);
    this.alone = wanted.filter((kind) => kinds[kind].alone);
    this.bag = [];
    this.orderly = [];
  }

  #add(kind, at, latest) {
    const { ms, ...args } = kinds[kind].draw(this.random, this.n, this.mortal);
    const fault = { id: this.faults.length + 1, kind, at, until: Math.min(at + ms, latest), args };
    fault.text = kinds[kind].text({ ...args, ms: fault.until - at });
    if (!fits(fault, this.faults, this.n)) return undefined;
    this.faults.push(fault);
    return fault;
  }

  // Every kind comes once before any comes again; one that doesn't fit is put back for later.
  #storm(from, until) {
    for (let at = from; this.storms.length && at < until - 1000; at += this.random.between(300, 3500)) {
      if (this.bag.length === 0) this.bag = this.random.shuffle(this.storms);
      const index = this.bag.findIndex((kind) => this.#add(kind, at, until));
      if (index >= 0) this.bag.splice(index, 1);
    }
  }

  #calm(at) {
    this.calms.push({ at, until: at + CALM_MS });
    return at + CALM_MS;
  }

  // `last`: the run's end, by which everything is healed.
  draw(last) {
    let at = WARM_MS;
    for (;;) {
      const storm = this.storms.length ? this.random.between(25_000, 45_000) : 2000;
      const until = last - at < storm + 2 * CALM_MS + 20_000 ? last : at + storm;
      this.#storm(at, until);
      if (until === last) break;
      at = this.#calm(until);
      if (this.orderly.length === 0) this.orderly = this.random.shuffle(this.alone);
      const kind = this.orderly.pop();
      const fault = kind && this.#add(kind, at, last);
      if (fault) at = this.#calm(fault.until);
    }
    this.heal = last;
    return this;
  }
}

export function plan({ seed, minutes, nodes, faults, spare }) {
  const { faults: planned, calms, heal } = new Plan(seed, nodes, faults, spare).draw(Math.round(minutes * 60_000));
  return { faults: planned, calms, heal };
}
