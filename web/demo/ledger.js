// Were they all here, and each once? The feeder numbers what it publishes, on whichever node, without a hole: so the page can tell by itself,
// trusting nothing that the nodes say. A number that is passed over and does not come within `lateMs` is missing; if the page was told of a gap
// meanwhile it is told as lost, else it was lost in silence, which must not happen.

const lateMs = 3000;
const holesMax = 100_000;

export class Ledger {
  #run; // of the feeder: numbers begin anew with another
  #first;
  #last;
  #holes = new Map(); // number -> when it was passed over
  #gapAt = -Infinity;
  received = 0;
  twice = 0;

  note(run, n, now) {
    if (run !== this.#run) this.#begin(run, n);
    else if (n > this.#last) {
      this.#pass(this.#last + 1, n, now);
      this.#last = n;
    } else if (n < this.#first) {
      this.#pass(n + 1, this.#first, now); // the first messages of several nodes come in no particular order
      this.#first = n;
    } else if (!this.#holes.delete(n)) {
      this.twice++;
      return;
    }
    this.received++;
  }

  // A gap was declared, or a join was told that more was missed than there is.
  gap(now) {
    this.#gapAt = now;
  }

  count(now) {
    let told = 0;
    let missing = 0;
    for (const passed of this.#holes.values()) {
      if (passed <= this.#gapAt + lateMs) told++;
      else if (passed < now - lateMs) missing++;
    }
    return { received: this.received, twice: this.twice, told, missing };
  }

  #begin(run, n) {
    this.#run = run;
    this.#first = this.#last = n;
    this.#holes.clear();
  }

  #pass(from, to, now) {
    for (let n = from; n < to && this.#holes.size < holesMax; n++) this.#holes.set(n, now);
  }
}
