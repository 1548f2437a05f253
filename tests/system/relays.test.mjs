// The relays of tests/lib/links.mjs know who dials, which every test of a broken link builds on.
import { spawn } from 'node:child_process';
import net from 'node:net';
import { test } from 'node:test';
import { Links } from '../lib/links.mjs';
import { freePort } from '../lib/ports.mjs';
import { until, within } from '../lib/wait.mjs';

// Stands for a node: listens where a relay expects it, and dials from a process of its own.
async function stand(t, name) {
  const node = { name, options: {}, meshPort: await freePort(), askPort: await freePort(), taken: 0, running: true };
  const server = net.createServer((socket) => {
    node.taken++;
    socket.on('error', () => {}).resume();
  });
  await new Promise((resolve) => server.listen(node.meshPort, '127.0.0.1', resolve));
  t.after(() => server.close());
  return node;
}

// Opens a connection from `localPort` in a process that is this node's; its pid is known before it dials.
function dial(t, node, address, localPort) {
  const script = `
    process.stdin.once('data', () => {
      const [host, port] = process.argv[1].split(':');
      const socket = require('node:net').connect({ host, port: Number(port), localPort: Number(process.argv[2]) });
      socket.on('error', (error) => console.log(error.code)).on('close', () => process.exit(0));
    });`;
  const child = spawn(process.execPath, ['-e', script, address, String(localPort)], { stdio: ['pipe', 'inherit', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  node.pid = child.pid;
  child.stdin.write('go\n');
  return new Promise((resolve) => child.once('exit', () => resolve('ended')));
}

// As the system does it: a local port that it chose by itself may serve several connections, if they lead to different places.
test('a_relay_knows_who_dials_also_where_two_nodes_dial_from_the_same_local_port', async (t) => {
  const [a, b, c] = [await stand(t, 'a'), await stand(t, 'b'), await stand(t, 'c')];
  const links = await Links.open(t, [a, b, c]);
  const port = await freePort();
  dial(t, a, b.options.mesh_advertise, port);
  await until('a is with b', () => b.taken === 1);
  const ended = dial(t, c, a.options.mesh_advertise, port);
  await until('c is with a', () => a.taken === 1);
  links.between(a, c).cut();
  await within(10_000, 'what c dialled has ended', ended);
});
