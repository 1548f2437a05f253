// Milliseconds since 1970 with their fractions. Date.now() has whole ones, performance.now() drifts from it: the difference is measured anew
// all the time, and where it is largest Date.now() was cut off least. Between the two readings the process may have stood still: such a
// difference says nothing.
const spanMs = 10_000;
let offset = -Infinity;
let next = -Infinity;
let until = 0;

export function now() {
  const before = performance.now();
  const coarse = Date.now();
  const fine = performance.now();
  if (fine - before > 0.2 && offset > -Infinity) return fine + offset;
  const seen = coarse - fine;
  if (fine > until) {
    offset = Math.max(next, seen);
    next = -Infinity;
    until = fine + spanMs;
  }
  next = Math.max(next, seen);
  offset = Math.max(offset, seen);
  return fine + offset;
}
