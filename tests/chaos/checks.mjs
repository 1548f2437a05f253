// What must be true at the end of a run, each with what was seen.
import { judgeMemory } from './memory.mjs';

const REPAIR_MINUTES = 2; // the shortest run that must have filled queues of the mesh

export const exits = { good: 0, broken: 1, unusable: 2 };

const wrongLine = /^.*(ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Assertion .* failed|BUG:).*$/m;
const seconds = (ms) => (ms === null || ms === undefined ? 'never' : `${(ms / 1000).toFixed(1)} s`);
const silent = ['missing', 'doubled', 'disordered', 'strange', 'wrong_id', 'undead', 'malformed'];

// Broken promises that fanmesh-load counted.
export function broken(tally) {
  return Object.entries(tally ?? {}).filter(([name, count]) => silent.includes(name) && count > 0);
}

function delivery(seen) {
  const { code, result, errors } = seen.load ?? {};
  if (seen.early) return { ok: false, text: seen.early };
  const found = broken(result?.tally).map(([name, count]) => `${count} ${name}`);
  const text = result
    ? `${result.published.acked} acknowledged messages, ${result.tally.deliveries} deliveries: ${found.join(', ') || 'none lost in silence, doubled or out of order'}` +
      (result.tally.declared ? `; ${result.tally.declared} lost and told` : '') +
      (result.tally.tail_unknown + result.tally.tail_local ? `; ${result.tally.tail_unknown + result.tally.tail_local} acknowledged local by killed nodes and gone with them` : '')
    : `fanmesh-load gave no result: ${errors}`;
  return { ok: [0, 3].includes(code) && found.length === 0, text };
}

// A mesh that told of a loss instead of repairing it would pass the check of deliveries.
function told(seen) {
  const { tally } = seen.load?.result ?? {};
  if (!tally) return { ok: false, text: 'no result' };
  const lost = tally.declared + tally.tail_unknown + tally.tail_local;
  const share = lost / tally.deliveries;
  return { ok: share * 100 <= seen.options.told, text: `${(share * 100).toFixed(3)} % of the deliveries were lost and told, or went with killed nodes; at most ${seen.options.told} % may` };
}

function back(seen) {
  const { joined } = seen.load?.result?.clients ?? {};
  return { ok: joined === seen.options.clients, text: `${joined} of ${seen.options.clients} clients are joined at the end` };
}

function agreement(seen) {
  const { vectors_equal_ms: vectors, histories_equal_ms: histories, histories: compared } = seen;
  const within = (ms) => ms !== null && ms !== undefined && ms <= seen.options.agree * 1000;
  const origins = seen.disagreements?.map(({ origin, has, lacks }) => `; of ${origin} the nodes have ${has.join(' ')} and lack ${lacks.join(' ')}`).join('');
  const differ = compared?.different.length ? `; ${compared.different.length} histories differ` : '';
  const copies = compared?.second_copies ? `, ${compared.second_copies} lacked where another copy was first and had to go` : '';
  const held = compared ? ` (${compared.topics} topics, ${compared.messages} messages${copies})` : '';
  return {
    ok: within(vectors) && within(histories),
    text: `positions equal ${seconds(vectors)} after the last heal, histories${held} ${seconds(histories)}${differ}${origins}`,
  };
}

// Idle, before and after: repairs that never end would show here.
function baseline(seen) {
  const { samples, idle_ms: idle, quiet_ms: quiet, ended_ms: ended } = seen;
  const rates = (name) => [samples.rate(name, -idle + 1000, -2000), samples.rate(name, quiet, ended)];
  const [before, after] = rates('fanmesh_mesh_bytes_out_total');
  const [, pulls] = rates('fanmesh_repair_pulls_total');
  const kb = (rate) => (rate === undefined ? '?' : (rate / 1000).toFixed(1));
  return {
    ok: after <= before * 1.5 + 2000 && pulls === 0,
    text: `mesh traffic while nothing is published: ${kb(before)} kB/s before, ${kb(after)} kB/s after; ${pulls?.toFixed(1)} pulls/s`,
  };
}

const memory = ({ samples, options, heal_ms: heal }) => judgeMemory(samples.rows, options, heal);

function repair(seen) {
  const sums = seen.samples.sums();
  // What a node's own full inbox threw away is missing on the link as well.
  const dropped = (sums.fanmesh_mesh_dropped_total ?? 0) - (sums.fanmesh_hub_inbox_dropped_total ?? 0);
  const repaired = sums.fanmesh_repaired_messages_total ?? 0;
  const text = `${dropped} envelopes dropped by full queues of the mesh, ${repaired} messages repaired`;
  // It says whether the run was hard enough, not whether a promise held; a short one, or one of a machine that is behind, may have met no
  // fault that fills a queue.
  const filled = seen.options.minutes >= REPAIR_MINUTES && seen.faults.some(({ kind }) => kind === 'throttle');
  if (!filled && repaired && !dropped) return { ok: undefined, text: `${text}; a run of ${REPAIR_MINUTES} minutes with a throttled link fills queues` };
  return { ok: dropped > 0 && repaired > 0, text: dropped && repaired ? text : `${text}: the faults of this run were too mild to show that both are mended` };
}

function health(seen) {
  const wrong = seen.nodes.flatMap(({ name, complaints, log }) => [...complaints, ...(log.match(wrongLine)?.slice(0, 1) ?? [])].map((text) => `${name}: ${text}`));
  return { ok: wrong.length === 0, text: wrong.join('; ') || `${seen.nodes.reduce((sum, { lives }) => sum + lives.length, 0)} lives of ${seen.nodes.length} nodes: none ended by itself` };
}

// A control is a run with something broken on purpose: it is good if exactly that was found.
function control(seen) {
  const { tally = {} } = seen.load?.result ?? {};
  const names = seen.options.expect === 'loss' ? ['missing', 'declared'] : ['doubled'];
  const found = names.map((name) => `${tally[name] ?? 0} ${name}`).join(', ');
  return [{ name: `finds ${seen.options.expect}`, ok: names.some((name) => tally[name] > 0), text: found }];
}

export function judge(seen) {
  const table = { delivery, told, clients: back, agreement, baseline, memory, repair, health };
  const faultless = seen.options.faults.length === 0;
  const checks = seen.options.expect
    ? control(seen)
    : Object.entries(table)
        .filter(([name]) => !(faultless && name === 'repair'))
        .map(([name, check]) => ({ name, ...check(seen) }));
  return { checks, code: checks.some(({ ok }) => ok === false) ? exits.broken : exits.good };
}
