// report.json, timeline.svg, and what is printed.
import fs from 'node:fs';
import path from 'node:path';
import { root } from '../lib/node.mjs';
import { change, describe, figures } from './memory.mjs';
import { timeline } from './timeline.mjs';

const percentile = (sorted, p) => sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * p) / 100))];

function table(seen) {
  const counts = {};
  for (const { kind } of seen.faults) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

function calms(seen) {
  const all = [...seen.calms.map(({ caught_up_ms }) => caught_up_ms), seen.caught_up_ms].filter((ms) => ms !== null && ms !== undefined).sort((a, b) => a - b);
  return { heals: seen.calms.length + 1, caught_up: all.length, p50_ms: percentile(all, 50), max_ms: all.at(-1) };
}

export function summary(seen, { checks, code }) {
  const { samples } = seen;
  const sums = samples.sums();
  const memory = seen.nodes.map(({ name }, i) => {
    const values = samples.rows.map(({ nodes }) => nodes[i]?.rss).filter(Boolean);
    return { name, max: Math.max(...values), last: values.at(-1), medians: figures(samples.rows, i) };
  });
  const { result } = seen.load ?? {};
  return {
    seed: seen.options.seed,
    again: seen.command,
    began: seen.began,
    exit: code,
    checks,
    options: seen.options,
    faults: { injected: seen.faults.length, kinds: table(seen), list: seen.faults.map(({ kind, row, text, args, began, ended }) => ({ kind, row, text, args, began, ended })) },
    load: seen.load,
    bursts: seen.bursts,
    mesh: Object.fromEntries(Object.entries(sums).filter(([name]) => /^fanmesh_(mesh|repair|gaps|key|not_replicated|inbox)/.test(name))),
    convergence: {
      last: { caught_up_ms: seen.caught_up_ms, vectors_equal_ms: seen.vectors_equal_ms, histories_equal_ms: seen.histories_equal_ms },
      all: calms(seen),
      calms: seen.calms,
      histories: seen.histories,
      disagreements: seen.disagreements,
    },
    memory: { nodes: memory, change: change(samples.rows, seen.heal_ms, seen.options.spare) },
    latency_us: result?.latency_us,
    lives: seen.nodes.map(({ name, lives }) => ({ name, lives })),
    moments: { epoch_ms: seen.epoch_ms, warm_ms: seen.warm_ms, heal_ms: seen.heal_ms, publishing_stopped_ms: seen.stopped_ms, ended_ms: seen.ended_ms },
    events: seen.events,
    series: seen.series,
    samples: samples.rows,
  };
}

export function writeReport(seen, verdict) {
  const report = summary(seen, verdict);
  fs.writeFileSync(path.join(seen.folder, 'report.json'), JSON.stringify(report));
  fs.writeFileSync(path.join(seen.folder, 'timeline.svg'), timeline(report));
  const at = path.relative(root, seen.folder);
  const { result } = seen.load ?? {};
  const lines = [`${process.stdout.isTTY ? '\r\x1b[K' : ''}${report.faults.injected} faults: ${Object.entries(report.faults.kinds).map(([kind, n]) => `${n} ${kind}`).join(', ') || 'none'}`];
  if (result) {
    const { published: p, clients: c, tally: t, latency_us: l, recovery_ms: r } = result;
    lines.push(`published ${p.sent}, acknowledged ${p.acked}, delivered ${t.deliveries}, replayed ${c.replayed}, reconnects ${c.reconnects}`);
    lines.push(`told as gap ${c.gaps}, as recovered:false ${c.unrecovered}; lost and told ${t.declared}; tails of killed nodes ${t.tail_unknown ?? 'not counted'}`);
    lines.push(`latency p50 ${(l.p50 / 1000).toFixed(1)} ms, p99 ${(l.p99 / 1000).toFixed(1)} ms${r ? `; recovery p50 ${r.p50} ms, p99 ${r.p99} ms` : ''}`);
  }
  const { all } = report.convergence;
  lines.push(`all nodes had all that any had: after ${all.caught_up} of ${all.heals} heals, p50 ${all.p50_ms} ms, slowest ${all.max_ms} ms`);
  lines.push(`memory, medians of the run${seen.options.spare ? `; node ${seen.options.spare} was spared from kills and restarts, so that one process lives all the time` : ''}:`);
  for (const [i, { name, lives }] of seen.nodes.entries()) lines.push(`  ${name} (${lives.length} ${lives.length === 1 ? 'life' : 'lives'}): ${describe(seen.samples.rows, i)}`);
  for (const { name, ok, text } of verdict.checks) lines.push(`${ok === undefined ? '-     ' : ok ? 'ok    ' : 'BROKEN'} ${name}: ${text}`);
  lines.push(`report: ${at}/report.json, picture: ${at}/timeline.svg`);
  if (verdict.code) lines.push(`a promise was broken; again: ${seen.command}`);
  console.log(lines.join('\n'));
  if (!verdict.code && !seen.options.keep) for (const file of fs.readdirSync(seen.folder)) if (!/^(report\.json|timeline\.svg|.*\.log)$/.test(file)) fs.rmSync(path.join(seen.folder, file));
}
