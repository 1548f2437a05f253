// The order board's feeder, and script/server with it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startBoard, topic } from '../lib/board.mjs';
import { root } from '../lib/node.mjs';
import { freePort } from '../lib/ports.mjs';
import { patience, until, within } from '../lib/wait.mjs';

function run(t, command, args, options = {}) {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options });
  child.out = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (child.out += data));
  child.ended = new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal })));
  // In good order: a script/server that is killed would leave its nodes behind.
  t.after(async () => {
    child.kill('SIGTERM');
    await within(20_000, `the end of ${command}`, child.ended).catch(() => child.kill('SIGKILL'));
  });
  return child;
}

const feed = (t, nodes, rate = 40) => run(t, process.execPath, ['web/demo/feeder.mjs', '--rate', String(rate), ...nodes.map((node) => node.api)]);

// What the feeder has published, in the order of its numbers.
async function fed(node) {
  const { body } = await node.request('GET', `/api/topics/${encodeURIComponent(topic)}/history?limit=1000`);
  const messages = body.messages.filter(({ payload }) => payload.feed);
  return messages.sort((x, y) => x.payload.feed.n - y.payload.feed.n);
}

// The command lines of all processes.
function commands() {
  return fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name)).flatMap((pid) => {
    try {
      return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
    } catch {
      return []; // it has ended meanwhile
    }
  });
}

const numbers = (messages) => messages.map(({ payload }) => payload.feed.n);
// What all these nodes have, without a hole: of messages that different nodes took a third may have the later one first.
const whole = (...nodes) => until(`${nodes.map(({ name }) => name)} have every number`, async () => {
  const [messages, ...others] = await Promise.all(nodes.map(fed));
  return numbers(messages).every((n, i) => n === i + 1) && others.every(({ length }) => length === messages.length) && messages;
});
const long = { [topic]: { join: 'anyone', push: 'anyone', history_count: 1000 } };

test('the_feeder_publishes_on_all_nodes_goes_on_when_one_is_killed_and_skips_no_number', async (t) => {
  const nodes = await startBoard(t, { rules: long });
  const [a, b, c] = nodes;
  const feeder = feed(t, nodes);
  await until('all three have taken some', async () => new Set((await fed(a)).map(({ id }) => id.split('-')[0])).size === 3);
  await c.kill();
  const so = (await fed(a)).length;
  await until('it goes on', async () => (await fed(b)).length > so + 20, 30_000);
  feeder.kill('SIGTERM');
  assert.deepEqual(await within(10_000, 'its end', feeder.ended), { code: 0, signal: null });
  const messages = await whole(a, b);
  assert.deepEqual(numbers(await whole(b)), numbers(messages));
  assert.equal(new Set(messages.map(({ payload }) => payload.feed.run)).size, 1);
  assert.match(feeder.out, new RegExp(`${c.api} takes nothing`));
});

test('a_feeder_that_is_started_again_goes_on_where_the_last_one_ended_and_with_what_pages_have_changed', async (t) => {
  const nodes = await startBoard(t, { rules: long });
  const first = feed(t, nodes);
  await until('some are there', async () => (await fed(nodes[0])).length > 20);
  first.kill('SIGTERM');
  await first.ended;
  const last = (await whole(...nodes)).at(-1).payload;
  const changed = await nodes[1].publish({ topic, event: 'order', payload: { ...last, feed: undefined, place: 2, rev: 900, status: 'paid' } });
  await until('every node has that, too', async () => (await Promise.all(nodes.map((node) => node.history(topic)))).every((ids) => ids.includes(changed)));
  feed(t, nodes);
  await until('the next step of that order is there', async () => (await fed(nodes[2])).some(({ payload }) => payload.place === 2 && payload.rev > 900));
  const messages = await whole(nodes[2]);
  assert.equal(new Set(messages.map(({ payload }) => payload.feed.run)).size, 1);
});

test('script_server_serves_the_board_on_every_node_feeds_it_and_leaves_nothing_behind', { skip: patience > 1 && 'it runs the release build' }, async (t) => {
  let server;
  let port;
  for (let tries = 0; ; tries++) {
    port = await freePort();
    for (const folder of ['web', 'log']) t.after(() => fs.rmSync(path.join(root, 'build', folder, String(port)), { recursive: true, force: true }));
    server = run(t, path.join(root, 'script/server'), ['2'], { env: { ...process.env, PORT: String(port), FEED: '20' } });
    const started = until('it says where the board is', () => server.out.includes('An order board'), 200_000);
    await Promise.race([started, server.ended]).catch(() => {});
    started.catch(() => {});
    if (server.exitCode === null || tries === 3 || !server.out.includes('is in use')) break;
  }
  assert.match(server.out, new RegExp(`An order board in which 20 orders change a second: .*http://localhost:${port}`), server.out);
  for (const at of [port, port + 10]) {
    for (const [file, type] of [['/', 'text/html'], ['/main.js', 'text/javascript'], ['/lib/phoenix.mjs', 'text/javascript'], ['/lib/fanmesh/index.js', 'text/javascript'], ['/style.css', 'text/css']]) {
      const response = await fetch(`http://localhost:${at}${file}`);
      assert.equal(response.status, 200, file);
      assert.ok(response.headers.get('content-type').startsWith(type), file);
      await response.text();
    }
    const { nodes } = await (await fetch(`http://localhost:${at}/nodes.json`)).json();
    assert.deepEqual(nodes, [{ name: 'node1', url: `http://localhost:${port}` }, { name: 'node2', url: `http://localhost:${port + 10}` }]);
    const feeds = async () => (await (await fetch(`http://localhost:${at}/api/topics/${encodeURIComponent(topic)}/history`)).json()).messages.length;
    await until('orders come', async () => (await feeds()) > 5);
  }
  server.kill('SIGTERM');
  assert.equal((await within(30_000, 'its end', server.ended)).code, 0);
  for (const at of [port, port + 10]) await assert.rejects(fetch(`http://localhost:${at}/healthz`));
  const left = commands().filter((command) => command.includes('feeder.mjs') && command.includes(`localhost:${port + 1}`));
  assert.deepEqual(left, []);
});
