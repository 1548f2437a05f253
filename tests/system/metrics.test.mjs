// /metrics of a real node, read as strictly as the text format (0.0.4) is written down.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { sharedCluster } from '../lib/cluster.mjs';
import { root } from '../lib/node.mjs';
import { connect, disconnect, join } from '../lib/phoenix.mjs';
import { until } from '../lib/wait.mjs';

const { nodes } = await sharedCluster(2);

// { name -> { help, type, series: Map(labels -> value) } }; throws at the first thing that the format doesn't allow.
function parse(text) {
  const families = new Map();
  let family;
  assert.ok(text.endsWith('\n') && !text.includes('\r'), 'lines end with a line feed');
  text.slice(0, -1).split('\n').forEach((line, i) => {
    const bad = (why) => assert.fail(`line ${i + 1}: ${why}: ${line}`);
    const comment = line.match(/^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/);
    if (comment) {
      const [, kind, name, rest] = comment;
      if (kind === 'HELP') {
        if (families.has(name)) bad('a second HELP, or one after its metric');
        if (/\\(?![\\n])/.test(rest)) bad('an escape that the format does not have');
        families.set(name, (family = { name, help: rest, series: new Map() }));
      } else {
        if (family?.name !== name || family.type || family.series.size) bad('TYPE does not follow its HELP');
        if (!/^(counter|gauge|histogram|summary|untyped)$/.test(rest)) bad('no such type');
        family.type = rest;
      }
      return;
    }
    const sample = line.match(/^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (\S+)$/);
    if (!sample) bad('neither comment nor sample');
    const [, name, labels = '', value] = sample;
    const part = family?.type === 'histogram' && name.slice(family.name.length).match(/^_(bucket|sum|count)$/)?.[0];
    if ((name !== family?.name && name !== `${family?.name}${part}`) || !family.type) bad('not under its own HELP and TYPE');
    if (!/^(?:[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|NaN|[-+]?Inf)$/.test(value)) bad('not a number');
    const names = [...labels.matchAll(/([a-zA-Z_]\w*)=/g)].map(([, label]) => label);
    if (new Set(names).size !== names.length || names.some((label) => label.startsWith('__'))) bad('its labels');
    const series = part ? `${part} ${labels}` : labels;
    if (family.series.has(series)) bad('the same series twice');
    family.series.set(series, Number(value));
  });
  return families;
}

const scrape = async (node) => {
  const { status, headers, text } = await node.request('GET', '/metrics');
  assert.equal(status, 200);
  assert.equal(headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8');
  return parse(text);
};

test('every_line_is_of_the_format_and_every_metric_has_help_type_and_a_series', async () => {
  for (const [name, { help, type, series }] of await scrape(nodes[0])) {
    assert.ok(help && type && series.size > 0, name);
    assert.equal(type === 'counter', name.endsWith('_total'), `${name} is a ${type}`);
    for (const value of series.values()) assert.ok(Number.isFinite(value) && value >= 0, `${name} ${value}`);
  }
});

test('the_parser_of_this_test_refuses_what_the_format_does_not_allow', () => {
  const good = '# HELP a_total b\n# TYPE a_total counter\na_total{w="0"} 1\n';
  parse(good);
  for (const bad of [
    good.slice(0, -1), good + good, good.replace('counter', 'count'), good.replace('a_total{', 'b_total{'), good.replace(' 1', ' 1x'),
    good.replace('"0"', '0'), good.replace('"0"', '"\\x"'), good + 'a_total{w="0"} 2\n', good.replace('# TYPE a_total counter\n', ''), good + '\n',
    good.replace('{w="0"}', '{w="0",w="1"}'), good.replace('b\n', 'b\\t\n'),
  ]) {
    assert.throws(() => parse(bad), undefined, bad);
  }
});

test('docs_metrics_has_every_metric_of_a_node_with_its_type_and_labels_and_no_other', async () => {
  const page = fs.readFileSync(path.join(root, 'docs/metrics.md'), 'utf8');
  const rows = new Map([...page.matchAll(/^\| `(\w+)` \| (\w+) \| ([^|]+) \| ([^|]*) \| ([^|]+) \|/gm)].map(([, name, ...rest]) => [name, rest.map((cell) => cell.trim())]));
  const families = await scrape(nodes[0]);
  assert.deepEqual([...rows.keys()].sort(), [...families.keys()].sort());
  for (const [name, { help, type, series }] of families) {
    const labels = [...new Set([...series.keys()].flatMap((text) => [...text.matchAll(/(\w+)=/g)].map(([, label]) => `\`${label}\``)))];
    assert.deepEqual([rows.get(name)[0], rows.get(name)[2], rows.get(name)[3]], [type, labels.join(', '), help], name);
    assert.ok(rows.get(name)[1], name);
  }
});

test('counters_only_grow_and_count_what_was_done', async (t) => {
  const before = await scrape(nodes[0]);
  const socket = await connect(nodes[0]);
  t.after(() => disconnect(socket));
  const channel = await join(socket, 'room:metrics');
  for (let i = 0; i < 5; i++) await nodes[0].publish({ topic: 'room:metrics', event: 'msg', payload: i });
  await until('all five arrived', () => channel.got.length === 5);
  const sum = (families, name) => [...families.get(name).series.values()].reduce((a, b) => a + b, 0);
  const more = (after, name) => sum(after, name) - sum(before, name);
  // What arrives may be read here before the worker that wrote it has counted it.
  const after = await until('all five are counted', async () => {
    const now = await scrape(nodes[0]);
    return more(now, 'fanmesh_deliveries_total') >= 5 && now;
  });
  for (const [name, { type, series }] of after) {
    if (type === 'counter') for (const [labels, value] of series) assert.ok(value >= before.get(name).series.get(labels), `${name}{${labels}}`);
  }
  assert.equal(more(after, 'fanmesh_published_total'), 5);
  assert.equal(more(after, 'fanmesh_deliveries_total'), 5);
  await until('its peer is counted', async () => sum(await scrape(nodes[0]), 'fanmesh_peers') === 1);
});
