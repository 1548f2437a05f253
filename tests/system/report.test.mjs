// The page of pictures: one file, nothing fetched, with the results in it that --json prints.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { load, startFloor, verdict } from '../lib/load.mjs';
import { root, workFolder } from '../lib/node.mjs';

const small = { connections: 50, topics: 2, messages: 200, window: 4, settle_ms: '30s' };

function resultsOf(page) {
  const [, json] = page.match(/<script type="application\/json" id="results">(.*?)<\/script>/s);
  return JSON.parse(json);
}

test('a run writes a page with all that its pictures need, and that fetches nothing', async (t) => {
  const floor = await startFloor(t);
  const report = path.join(workFolder(), 'page.html');
  const { code, result } = await load({ ...small, nodes: floor.nodes, pid: floor.pid, report });
  assert.equal(code, verdict.good);
  const page = fs.readFileSync(report, 'utf8');
  assert.deepEqual(resultsOf(page), [result]);
  assert.doesNotMatch(page, /https?:|src=|@import|url\(/);
  const { latency_us, memory, time } = result.plots;
  assert.equal(latency_us.reduce((sum, [, n]) => sum + n, 0), result.tally.deliveries);
  assert.ok(latency_us.every(([us], i) => i === 0 || us > latency_us[i - 1][0]));
  assert.deepEqual([memory[0][0], memory.at(-1)[0]], [0, 50]);
  assert.equal(time.at(-1)[3], result.tally.deliveries);
});

test('several results become one page, and what is none is refused by name', async (t) => {
  const folder = workFolder();
  const floor = await startFloor(t);
  const files = [];
  for (const connections of [10, 20]) {
    const { result } = await load({ ...small, nodes: floor.nodes, connections });
    files.push(path.join(folder, `floor<${connections}.json`));
    fs.writeFileSync(files.at(-1), JSON.stringify(result));
  }
  const make = (...args) => spawnSync(process.execPath, [path.join(root, 'load/report.mjs'), ...args], { encoding: 'utf8' });
  const out = path.join(folder, 'page.html');
  assert.equal(make('--out', out, ...files).status, 0);
  assert.deepEqual(resultsOf(fs.readFileSync(out, 'utf8')).map((r) => [r.label, r.connections]), [['floor<10', 10], ['floor<20', 20]]);
  fs.writeFileSync(files[0], '{}');
  for (const [args, sentence] of [[[], /usage/], [['/nonexistent'], /nonexistent/], [[files[0]], /not a result of fanmesh-load/]]) {
    const { status, stderr } = make('--out', out, ...args);
    assert.equal(status, 2);
    assert.match(stderr, sentence);
  }
  const { code, errors } = await load({ ...small, nodes: floor.nodes, report: '/nonexistent/page.html' });
  assert.equal(code, verdict.unusable);
  assert.match(errors, /--report: No such file/);
});
