// From what single runs said to medians, ranges and ratios.
export const median = (list) => {
  const sorted = [...list].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

const bases = ['fanmesh', 'floor'];

// runs[peer][cell][round] is what fanmesh-load said, or { error }. Returns figures[peer][row index]: { values, median, low, high, fanmesh,
// floor } with the ratios to those two where both were measured; or { error }; or undefined where the peer has no such cell.
export function figuresOf(rows, peers, runs) {
  const valueOf = (peer, row, round) => {
    const run = runs[peer]?.[row.cell]?.[round];
    return run && !run.error ? row.of(run) : undefined;
  };
  const figure = (peer, row) => {
    const all = runs[peer]?.[row.cell];
    if (!all?.length) return undefined;
    const errors = all.map(({ error }) => error).filter(Boolean);
    if (errors.length) return { error: errors[0], failed: errors.length, of: all.length };
    const values = all.map((_, round) => valueOf(peer, row, round));
    const found = { values, median: median(values), low: Math.min(...values), high: Math.max(...values) };
    for (const base of bases) {
      // The ratio of each pair, then their median: what both had in common in a round falls out.
      const ratios = values.map((value, round) => value / valueOf(base, row, round)).filter(Number.isFinite);
      if (ratios.length === values.length && base !== peer) found[base] = median(ratios);
    }
    return found;
  };
  return Object.fromEntries(peers.map(({ name }) => [name, rows.map((row) => figure(name, row))]));
}
