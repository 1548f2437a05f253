// Who got what: compares what was published with what one subscriber received, by the promise: per origin in order, each once, none missing.

const parse = (id) => {
  const cut = id.lastIndexOf('-');
  return [id.slice(0, cut), Number(id.slice(cut + 1))];
};

// published: ids; got: ids in order of arrival. Returns { missing, doubled, disordered, strange }: lists of ids, all empty if all is well.
export function compare(published, got) {
  const expected = new Set(published);
  const seen = new Set();
  const newest = new Map();
  const result = { missing: [], doubled: [], disordered: [], strange: [] };
  for (const id of got) {
    const [origin, seq] = parse(id);
    if (seen.has(id)) {
      result.doubled.push(id);
      continue;
    }
    seen.add(id);
    if (!expected.has(id)) result.strange.push(id);
    if (seq < (newest.get(origin) ?? 0)) result.disordered.push(id);
    newest.set(origin, Math.max(seq, newest.get(origin) ?? 0));
  }
  result.missing = published.filter((id) => !seen.has(id));
  return result;
}

export const clean = { missing: [], doubled: [], disordered: [], strange: [] };

// What an application does to resume with the stock client: it remembers the newest id of each origin, and gives them as a join param.
export class Cursor {
  #newest = new Map();

  // The position that a join reply holds replaces what was known.
  replace(ids) {
    this.#newest = new Map(ids.map(parse));
  }

  advance(id) {
    const [origin, seq] = parse(id);
    this.#newest.set(origin, Math.max(seq, this.#newest.get(origin) ?? 0));
  }

  // For socket.channel(topic, cursor.params): phoenix.js evaluates it at every join.
  params = () => ({ cursor: [...this.#newest].map(([origin, seq]) => `${origin}-${seq}`) });
}
