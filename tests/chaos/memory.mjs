// What a run says about memory. It swings with every burst and restart, so single moments say nothing: compared are medians over long windows,
// of figures that a burst does not move. Per node that answered there are, once a second,
//
//   rss   what the process occupies
//   heap  what is allocated in it (tests/lib/heap_count.c); the rest of rss is code, stacks, and what the allocator keeps for later
//   own   the part of heap that the node accounts for in /metrics, and whose limits are options
//
// heap less own is where a leak would be. It must not grow with a node's age; to see that over a whole run, one node is spared from kills and
// restarts (option --spare).
export const MEMORY_MINUTES = 15; // a shorter run says nothing
// By how much each may grow: what is allocated; what is resident, which the allocator's pieces make larger after each worst moment; and what is
// not accounted for, a few MiB, of which connections and what is under way are part.
const most = { heap: 0.05, rss: 0.15, rest: 0.15 };

// What a node accounts for: gauges of /metrics, in bytes.
export const accounts = {
  fanmesh_log_bytes: 'messages',
  fanmesh_index_bytes: 'index',
  fanmesh_keys_bytes: 'keys of messages that are gone',
  fanmesh_outbox_bytes: 'owed to clients',
};

export function median(values) {
  const sorted = values.filter((value) => value !== undefined && value !== null).sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : undefined;
}

// Of a run of 30 minutes: minutes 5 to 15, and the last ten.
export const windows = (heal_ms) => ({ early: [heal_ms / 6, heal_ms / 2], late: [(heal_ms * 2) / 3, heal_ms] });

const within = (rows, [from, to]) => rows.filter(({ t_ms }) => t_ms >= from && t_ms < to);

// Of one node at one moment; undefined where not all is known.
export function unaccounted({ heap, own }) {
  return heap && own ? heap - Object.values(own).reduce((a, b) => a + b, 0) : undefined;
}

// Figures of one node, of the rows in which there are all; `nodes` of a row has { rss, heap, own: { metric: bytes } } or null.
export function figures(rows, index) {
  const all = rows.map(({ nodes }) => nodes[index]).filter((node) => node?.own);
  const own = Object.fromEntries(Object.keys(accounts).map((name) => [name, median(all.map((node) => node.own[name]))]));
  return { rss: median(all.map(({ rss }) => rss)), heap: median(all.map(({ heap }) => heap)), own, rest: median(all.map(unaccounted)) };
}

// Of all nodes together, at moments at which all ran.
function together(rows) {
  const whole = rows.map(({ nodes }) => nodes).filter((nodes) => nodes.every((node) => node?.own));
  const sum = (name) => whole.map((nodes) => nodes.reduce((bytes, node) => bytes + node[name], 0)).filter((bytes) => bytes > 0);
  return { heap: median(sum('heap')), rss: median(sum('rss')) };
}

// What of `names` there is of both: { heap: { early, late, share } }; share: what it grew by.
function growth(early, late, names) {
  return Object.fromEntries(names.filter((name) => early[name] && late[name]).map((name) => [name, { early: early[name], late: late[name], share: late[name] / early[name] - 1 }]));
}

// Of all nodes, and of the spared one, if there is one.
export function change(rows, heal_ms, spare) {
  const [early, late] = Object.values(windows(heal_ms)).map((window) => within(rows, window));
  const changes = { all: growth(together(early), together(late), ['heap', 'rss']) };
  if (spare) changes.spared = growth(figures(early, spare - 1), figures(late, spare - 1), ['heap', 'rest', 'rss']);
  return changes;
}

export const mib = (bytes) => (bytes === undefined ? '?' : `${(bytes / 2 ** 20).toFixed(1)} MiB`);
const percent = (share) => `${share < 0 ? '' : '+'}${(share * 100).toFixed(1)} %`;

// What a reader of the report is told of each node; `rows` of the whole run.
export function describe(rows, index) {
  const { rss, heap, own, rest } = figures(rows, index);
  const parts = Object.entries(accounts).map(([name, text]) => `${mib(own[name])} ${text}`);
  return `${mib(rss)} resident; ${mib(heap)} allocated: ${parts.join(', ')}, ${mib(rest)} not accounted for`;
}

const words = { heap: 'allocated', rest: 'not accounted for', rss: 'resident' };

export function judgeMemory(rows, { minutes, spare }, heal_ms) {
  const { all, spared = {} } = change(rows, heal_ms, spare);
  if (minutes < MEMORY_MINUTES || !all.rss) return { ok: undefined, text: `memory of all nodes ${mib(together(rows).rss)}; a run of ${MEMORY_MINUTES} minutes says whether it is flat` };
  const list = (changes) => Object.entries(changes).map(([name, { early, late, share }]) => `${mib(early)}, then ${mib(late)} ${words[name]} (${percent(share)})`).join('; ');
  const text = `all nodes ${list(all)}${spare ? `. Node ${spare}, which ran all the time: ${list(spared)}` : ''}. Medians of minutes ${windowText(heal_ms)}`;
  return { ok: [all, spared].every((changes) => Object.entries(changes).every(([name, { share }]) => share <= most[name])), text };
}

function windowText(heal_ms) {
  const { early, late } = windows(heal_ms);
  return [early, late].map((window) => window.map((ms) => +(ms / 60_000).toFixed(1)).join(' to ')).join(' and ');
}
