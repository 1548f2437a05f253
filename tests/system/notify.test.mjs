// What a service manager hears of a node: real datagrams on the socket that it names.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { Node, workFolder } from '../lib/node.mjs';
import { until, within } from '../lib/wait.mjs';

// Node has no datagram sockets of this family; Python has, and Debian has Python.
const receiver = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(('\\0' + sys.argv[1][1:]) if sys.argv[1][0] == '@' else sys.argv[1])
print('bound', flush=True)
while True: print(repr(s.recv(4096).decode()), flush=True)
`;

async function listen(t, address) {
  const child = spawn('python3', ['-c', receiver, address], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill());
  let text = '';
  child.stdout.on('data', (data) => (text += data));
  await until('the receiver is bound', () => text.startsWith('bound\n'), 30_000);
  return () => text.trimEnd().split('\n').slice(1).map((line) => line.slice(1, -1).split('\\n'));
}

for (const [kind, address] of [
  ['a_path', () => path.join(workFolder(), 'notify')],
  ['an_abstract_name', () => `@fanmesh-test-${process.pid}`],
]) {
  test(`a_node_tells_${kind}_when_it_is_ready_and_how_long_its_end_may_take`, async (t) => {
    const name = address();
    const heard = await listen(t, name);
    const node = await Node.create({ options: { drain_ms: 5000, leave_ms: 2000, join: '127.0.0.1:1', found_ms: 1000 } });
    node.env = { NOTIFY_SOCKET: name };
    t.after(() => node.stop());
    node.spawn();
    await until('it says so', () => heard().length === 1, 30_000);
    assert.equal((await fetch(`${node.api}/readyz`)).status, 200, 'it said so before it was');
    assert.deepEqual(heard(), [['READY=1', 'STATUS=serving']]);
    await node.stop();
    await until('it says that it ends', () => heard().length === 2, 30_000);
    assert.deepEqual(heard()[1], ['STOPPING=1', 'STATUS=draining', 'EXTEND_TIMEOUT_USEC=12000000']);
  });
}

test('a_socket_of_the_service_manager_that_is_not_there_is_logged_and_the_node_serves', async (t) => {
  const node = await Node.create();
  node.env = { NOTIFY_SOCKET: '/nowhere/notify' };
  t.after(() => node.stop());
  await node.start();
  await until('the log says so', () => node.logged('notify_failed') === 1, 30_000);
  assert.match(node.log, /event=notify_failed socket="\/nowhere\/notify" why="No such file or directory"/);
});

test('a_node_that_ends_before_it_is_ready_does_not_say_that_it_is', async (t) => {
  const name = path.join(workFolder(), 'notify');
  const heard = await listen(t, name);
  const node = await Node.create({ options: { join: '127.0.0.1:1', found_ms: 60_000, leave_ms: 0 } });
  node.env = { NOTIFY_SOCKET: name };
  t.after(() => node.kill());
  node.spawn();
  await until('it runs', () => node.logged('started') === 1, 30_000);
  node.child.kill('SIGTERM');
  assert.equal((await within(30_000, 'its end', node.exited)).code, 0);
  await until('it was heard', () => heard().length === 1, 30_000);
  assert.equal(heard()[0][0], 'STOPPING=1');
  assert.ok(!fs.readFileSync(node.logFile, 'utf8').includes('notify_failed'));
});
