// The log as machines read it: every line of real nodes, in both formats, through start, links, refused nodes, drain and end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startCluster, startNode } from '../lib/cluster.mjs';
import { Node } from '../lib/node.mjs';
import { until, within } from '../lib/wait.mjs';

const awkward = 'kitchen "north" \\ ä=1'; // a name that needs every kind of escape

const jsonLines = (node) =>
  node.log.trimEnd().split('\n').map((line) => {
    try {
      return JSON.parse(line);
    } catch {
      throw new Error(`not JSON: ${line}`);
    }
  });

// A node's life with a neighbour that comes, is killed, and with one that knows another secret.
async function live(t, options) {
  const { nodes } = await startCluster(t, 2, { options: { log_level: 'debug', down_ms: 500, heartbeat_ms: 100, name: awkward, ...options } });
  await nodes[0].publish({ topic: 'room:1', event: 'msg', payload: 1 });
  const stranger = await Node.create({ name: 'stranger', join: nodes[0], secret: 'quite another secret than theirs', options });
  t.after(() => stranger.stop());
  await stranger.start();
  await until('the stranger is refused', () => /envelope_refused|link_refused/.test(nodes[0].log), 30_000);
  await nodes[1].kill();
  await until('the neighbour is down', () => /peer_down/.test(nodes[0].log), 30_000);
  await nodes[0].stop();
  return nodes[0];
}

test('every_line_of_a_node_with_log_format_json_is_a_json_object_with_typed_values', async (t) => {
  const node = await live(t, { log_format: 'json' });
  const lines = jsonLines(node);
  for (const line of lines) {
    assert.ok(!Number.isNaN(Date.parse(line.ts)), JSON.stringify(line));
    assert.match(line.level, /^(debug|info|warn|error)$/);
    assert.match(line.event, /^[a-z_]+$/);
  }
  const of = (event) => lines.find((line) => line.event === event) ?? assert.fail(`no line ${event}`);
  assert.equal(of('started').pid, node.pid);
  assert.equal(of('started').name, awkward);
  assert.equal(typeof of('started').incarnation, 'string');
  assert.ok(lines.some(({ event, pattern, history }) => event === 'topic_rule' && pattern === 'room:*' && history === 20000));
  assert.equal(of('peer_up').node, awkward);
  assert.equal(of('drained').connections, 0);
  assert.equal(lines.at(-1).event, 'stopped');
});

test('every_line_of_a_node_with_log_format_logfmt_is_made_of_pairs', async (t) => {
  const node = await live(t, {});
  for (const line of node.log.trimEnd().split('\n')) {
    assert.match(line, /^ts=\S+Z level=(debug|info|warn|error) event=[a-z_]+( [a-z_]+=("([^"\\]|\\.)*"|[^\s"]*))*$/);
  }
  assert.match(node.log, / node="kitchen \\"north\\" \\\\ ä=1" /);
  assert.match(node.log, / level=warn event=same_name node="kitchen [^\n]* why="this node has the same name" then="both work; give each its own `name`, /);
});

test('lines_below_log_level_are_left_out', async (t) => {
  const node = await startNode(t, { options: { log_level: 'warn', log_format: 'json', join: '127.0.0.1:1', found_ms: 100 } });
  await until('it founds a cluster', () => /"event":"ready"/.test(node.log), 30_000);
  await node.stop();
  for (const { level } of jsonLines(node)) assert.match(level, /^(warn|error)$/);
});

test('a_node_that_does_not_start_says_why_in_json', async (t) => {
  const first = await startNode(t);
  const second = await Node.create({ name: 'second', options: { log_format: 'json', listen: first.options.listen, api_listen: first.options.api_listen } });
  second.spawn();
  assert.equal((await within(30_000, 'its end', second.exited)).code, 1);
  const lines = jsonLines(second).filter(({ event }) => event === 'start_failed');
  assert.equal(lines.length, 2);
  for (const port of [first.port, first.apiPort]) assert.ok(lines.some(({ why }) => why.includes(port)), second.log);
  for (const line of lines) assert.equal(line.level, 'error');
});

test('a_second_term_leaves_a_last_line_of_json', async (t) => {
  const node = await startNode(t, { options: { log_format: 'json', drain_ms: 60_000, join: '127.0.0.1:1', leave_ms: 60_000 } });
  const { default: WebSocket } = await import('../clients/node_modules/ws/wrapper.mjs');
  const socket = new WebSocket(`${node.ws}/websocket?vsn=2.0.0`);
  await within(30_000, 'the socket', new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject)));
  socket.once('error', () => {}); // it is cut
  node.child.kill('SIGTERM');
  await until('it drains', () => /"event":"draining"/.test(node.log), 30_000);
  node.child.kill('SIGTERM');
  assert.equal((await within(30_000, 'its end', node.exited)).code, 1);
  // Another thread may get a word in before the process is gone.
  const last = jsonLines(node).findLast(({ event }) => event === 'stopped');
  assert.deepEqual([last?.level, last?.why], ['warn', 'a second signal']);
});
