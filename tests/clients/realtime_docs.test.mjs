// docs/supabase.md: its snippets as they stand there, against three nodes.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startCluster } from '../lib/cluster.mjs';
import { apiKey, root, workFolder } from '../lib/node.mjs';
import { fit, runShell, settingsOf, snippet, snippets } from '../lib/snippets.mjs';
import { until } from '../lib/wait.mjs';

const page = 'docs/supabase.md';

const { rules } = settingsOf(snippet(page, 'Clients of Supabase Realtime', 'ini'));

// A program beside the stock packages, which runs until the test ends. program.said: the lines that it printed.
function run(t, text) {
  const folder = fs.mkdtempSync(path.join(root, 'tests/clients/node_modules/.snippet-'));
  const file = path.join(folder, 'program.mjs');
  fs.writeFileSync(file, text);
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
  child.said = [];
  child.stdout.setEncoding('utf8').on('data', (lines) => child.said.push(...lines.trim().split('\n')));
  const exited = new Promise((resolve) => child.once('exit', resolve));
  t.after(async () => {
    child.kill('SIGKILL');
    await exited;
    fs.rmSync(folder, { recursive: true });
  });
  return child;
}

test('a_client_hears_itself_and_its_backend_in_every_way_that_the_page_shows', async (t) => {
  const { nodes } = await startCluster(t, 3, { rules });
  const folder = workFolder();
  fs.writeFileSync(path.join(folder, 'api.key'), `${apiKey}\n`, { mode: 0o600 });
  const client = run(t, fit(snippet(page, 'A client', 'js'), { nodes: nodes.slice(1) }));
  await until('it hears itself', () => client.said.length === 2, 30_000);
  assert.ok(client.said.includes('ok'));
  assert.match(client.said.find((line) => line !== 'ok'), /^hello \w+-1$/);
  const shell = snippets(page).filter(({ heading, kind }) => heading === 'A backend' && kind === 'sh');
  for (const { text } of shell) await runShell(fit(text, { nodes, folder }));
  await until('all that the backend said', () => client.said.length === 5, 30_000);
  assert.deepEqual(client.said.slice(2).map((line) => line.replace(/ \w+-\d+$/, '')), ['from the backend', 'as Supabase has it', 'one message']);
});

test('a_listener_to_changes_of_rows_gets_the_one_that_the_page_publishes', async (t) => {
  const { nodes } = await startCluster(t, 3, { rules });
  const folder = workFolder();
  fs.writeFileSync(path.join(folder, 'api.key'), `${apiKey}\n`, { mode: 0o600 });
  const client = run(t, fit(`${snippet(page, 'A client', 'js')}\n${snippet(page, 'Changes of rows', 'js')}`, { nodes: nodes.slice(1) }));
  const there = async () => (await nodes[0].request('GET', '/api/topics/realtime%3Aorders/subscribers?limit=0')).body.count === 1;
  await until('it has joined', there, 30_000);
  await runShell(fit(snippet(page, 'Changes of rows', 'sh'), { nodes, folder }));
  await until('it has the change', () => client.said.includes('UPDATE 7 new paid'), 30_000);
});

test('a_client_of_supabase_js_hears_itself_and_whoever_has_the_channel_by_realtime_js', async (t) => {
  const { nodes } = await startCluster(t, 3, { rules });
  const other = run(t, fit(snippet(page, 'A client', 'js'), { nodes: nodes.slice(1) }));
  await until('the other has joined', () => other.said.length === 2, 30_000);
  const client = run(t, fit(snippet(page, 'supabase-js', 'js'), { nodes }));
  await until('both hear it', () => client.said.includes('hello') && other.said.length === 3, 30_000);
  assert.match(other.said[2], /^hello /);
});
