// The backends of docs/hooks.md, as they stand there, in three languages, with a node and a stock client; and its settings.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { startNode } from '../lib/cluster.mjs';
import { checked } from '../lib/hook_schema.mjs';
import { binary, workFolder } from '../lib/node.mjs';
import { connect, disconnect, disconnectAll, join, push, settled, WebSocket } from '../lib/phoenix.mjs';
import { freePort } from '../lib/ports.mjs';
import { fit, snippet } from '../lib/snippets.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);
const page = 'docs/hooks.md';

const languages = {
  Node: { kind: 'js', file: 'backend.mjs', command: [process.execPath, 'backend.mjs'] },
  Python: { kind: 'python', file: 'backend.py', command: ['python3', 'backend.py'] },
  PHP: { kind: 'php', file: 'backend.php', command: ['php', '-S', '127.0.0.1:8080', 'backend.php'], env: { PHP_CLI_SERVER_WORKERS: '4' } },
};

async function startBackend(t, { kind, file, command, env }, heading) {
  const folder = workFolder(), port = await freePort();
  const here = (text) => fit(text, { folder }).replaceAll('8080', String(port));
  fs.writeFileSync(path.join(folder, 'hook.secret'), 'a-secret-that-both-know\n', { mode: 0o600 });
  fs.writeFileSync(path.join(folder, file), here(snippet(page, heading, kind)));
  const [program, ...args] = command.map(here);
  // A group of its own: PHP's server has children.
  const child = spawn(program, args, { cwd: folder, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const backend = { port, folder, printed: '' };
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (backend.printed += bytes));
  const ended = once(child, 'exit');
  t.after(async () => {
    process.kill(-child.pid, 'SIGKILL');
    await ended;
  });
  const post = (body, headers = {}) => fetch(`http://127.0.0.1:${port}/`, { method: 'POST', body, headers: { connection: 'close', ...headers } });
  await until(`${heading} listens`, async () => (await post('{}')).status === 401);
  assert.equal((await post('{}', { 'x-fanmesh-signature': `t=${Math.floor(Date.now() / 1000)},v1=${'0'.repeat(64)}` })).status, 401);
  return backend;
}

for (const [heading, language] of Object.entries(languages)) {
  test(`the_backend_in_${heading}_decides_and_is_told_as_the_page_says`, async (t) => {
    const backend = await startBackend(t, language, heading);
    const schema = await checked(t, backend.port);
    const node = await startNode(t, {
      rules: { 'room:*': { join: 'hook', push: 'hook' } },
      options: { hook_url: `http://127.0.0.1:${schema.port}/`, hook_secret_file: path.join(backend.folder, 'hook.secret'), hook_connect: true, hook_timeout_ms: '20s', hook_events: 'connect, join, leave, disconnect' },
    });
    const stranger = new WebSocket(`${node.ws}/websocket?vsn=2.0.0`);
    const [error] = await once(stranger, 'error');
    assert.match(error.message, /403/);

    const socket = await connect(node, { params: { user: 'ann' } });
    const refused = await settled(socket.channel('room:private').join());
    assert.deepEqual(refused, { status: 'error', response: { reason: 'members only' } });
    const channel = await join(socket, 'room:1');
    const { status, response } = await push(channel, 'time', {});
    assert.equal(status, 'ok');
    assert.ok(Math.abs(new Date(response.now) - Date.now()) < 60_000);
    assert.equal((await push(channel, 'msg', { text: 'well, darn it' })).status, 'ok');
    assert.equal((await push(channel, 'msg', { text: 'fine: ü' })).status, 'ok');
    await until('both', () => channel.got.length === 2);
    assert.deepEqual(channel.got.map(({ payload }) => payload.text), ['well, **** it', 'fine: ü']);
    await disconnect(socket);
    const told = () => [...backend.printed.matchAll(/^(connect|join|leave|disconnect) (\S+) \w+-\d+$/gm)].map(([, event, topic]) => `${event} ${topic}`);
    await until('all is told', () => told().length === 4);
    assert.deepEqual(told(), ['connect -', 'join room:1', 'leave room:1', 'disconnect -']);
    assert.equal(await node.metric('fanmesh_hook_bad_answers_total'), 0);
    assert.deepEqual(schema.failures, [], 'all that it is asked and answers fits docs/hooks.schema.json');
    assert.deepEqual([...new Set(schema.seen)].sort(), ['connect', 'disconnect', 'join', 'leave', 'push']);
  });
}

test('the_settings_of_the_page_are_those_of_a_node', () => {
  const folder = workFolder();
  fs.writeFileSync(path.join(folder, 'hook.secret'), 'a-secret-that-both-know\n', { mode: 0o600 });
  const file = path.join(folder, 'fanmesh.ini');
  fs.writeFileSync(file, `api_listen = none\n${fit(snippet(page, 'Hooks: a backend that decides and is told', 'ini'), { folder })}`);
  const printed = execFileSync(binary, ['check-config', '--config', file], { encoding: 'utf8' });
  assert.match(printed, /^# hook_secret = set /m);
  assert.match(printed, /^push = hook$/m);
});
