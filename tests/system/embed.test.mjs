// libfanmesh: what is installed, and programs built against it, as nodes of a cluster with stock clients.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { Cluster, sharedCluster } from '../lib/cluster.mjs';
import { EmbeddedNode, Installed } from '../lib/embedded.mjs';
import { root } from '../lib/node.mjs';
import { frame, rawSocket } from '../lib/raw.mjs';
import { connect, disconnect, disconnectAll, follow, join, leave, listen, push, settled } from '../lib/phoenix.mjs';
import { freePort } from '../lib/ports.mjs';
import { runShell, snippet } from '../lib/snippets.mjs';
import { Stream, sseOf } from '../lib/sse.mjs';
import { secret, token } from '../lib/tokens.mjs';
import { until } from '../lib/wait.mjs';

const installed = new Installed();
const examples = ['ticker', 'guard', 'bridge'].map((name) => `include/examples/${name}.c`);
const rules = {
  ticker: { join: 'anyone', history_count: 10 },
  'room:*': { join: 'anyone', push: 'anyone', history_count: 100 },
  'news:*': { join: 'anyone', push: 'anyone', history_count: 1000 },
  'asked:*': { join: 'anyone', push: 'anyone' },
};
const cluster = await sharedCluster(2, { rules });
after(disconnectAll);

// The program as the third node; ended with the test.
async function third(t, program, { options = {}, words = [] } = {}) {
  const node = await EmbeddedNode.of(program, { join: cluster.nodes[0], options });
  node.words = words;
  const all = new Cluster([...cluster.nodes, node]);
  t.after(() => node.stop());
  await node.start();
  await all.linked();
  return node;
}

const publicNames = () =>
  installed.headers
    .flatMap((name) => [...fs.readFileSync(path.join(installed.include, name), 'utf8').matchAll(/^FM_API [^(]*?(\w+)\(/gm)])
    .map(([, name]) => name)
    .sort();

const definedNames = (...args) =>
  installed
    .run('nm', ['--defined-only', ...args])
    .split('\n')
    .map((line) => line.match(/^[0-9a-f]+ [A-Z] (\w+)/)?.[1])
    .filter((name) => name && !/^(_|__).*(asan|tsan|ubsan|sancov|odr)|^_(init|fini)$/.test(name))
    .sort();

describe('what is installed', () => {
  test('each_header_compiles_alone_in_C_and_in_C_plus_plus', () => {
    assert.ok(installed.headers.length >= 6);
    for (const header of installed.headers) {
      for (const [compiler, standard] of [['cc', 'c11'], ['cc', 'c17'], ['c++', 'c++11'], ['c++', 'c++20']]) {
        const file = path.join(installed.folder, standard.startsWith('c++') ? 'alone.cc' : 'alone.c');
        fs.writeFileSync(file, `#include <${header}>\nint main(void);\n`);
        const strict = ['-Wall', '-Wextra', '-Wpedantic', '-Werror', '-fsyntax-only', `-std=${standard}`];
        installed.run(compiler, [...strict, `-I${installed.include}`, file]);
      }
    }
  });

  test('both_libraries_export_exactly_what_the_headers_declare', () => {
    const names = publicNames();
    assert.ok(names.includes('fm_start') && names.includes('fm_err_text'));
    assert.deepEqual(definedNames('-D', path.join(installed.lib, 'libfanmesh.so')), names);
    assert.deepEqual(definedNames('-g', path.join(installed.lib, 'libfanmesh.a')), names);
  });

  test('the_shared_library_is_named_after_the_minor_version', () => {
    const [major, minor] = installed.pkgConfig('--modversion')[0].split('.');
    const dynamic = installed.run('readelf', ['-d', path.join(installed.lib, 'libfanmesh.so')]);
    assert.match(dynamic, new RegExp(`SONAME.*\\[libfanmesh\\.so\\.${major}\\.${minor}\\]`));
  });

  test('every_example_is_under_sixty_lines_and_builds_against_either_library', () => {
    for (const source of examples) {
      assert.ok(fs.readFileSync(path.join(root, source), 'utf8').split('\n').length <= 60, source);
      for (const linked of ['shared', 'static']) installed.build(source, { linked });
    }
  });

  test('cmake_finds_it', () => {
    const folder = path.join(installed.folder, 'cmake');
    fs.mkdirSync(folder);
    fs.writeFileSync(
      path.join(folder, 'CMakeLists.txt'),
      `cmake_minimum_required(VERSION 3.25)\nproject(p C)\nfind_package(fanmesh 0.1 REQUIRED)\n` +
        `add_executable(p ${path.join(root, examples[0])})\ntarget_link_libraries(p fanmesh::fanmesh)\n`,
    );
    const flags = installed.pkgConfig('--cflags').filter((word) => word.startsWith('-fsanitize')).join(' ');
    installed.run('cmake', ['-S', folder, '-B', path.join(folder, 'b'), `-DCMAKE_PREFIX_PATH=${installed.prefix}`, `-DCMAKE_C_FLAGS=${flags}`]);
    installed.run('cmake', ['--build', path.join(folder, 'b')]);
  });

  test('the_binary_itself_is_a_program_that_includes_nothing_but_a_public_header', () => {
    const includes = [...fs.readFileSync(path.join(root, 'gateway/main.c'), 'utf8').matchAll(/^#include (.*)$/gm)].map(([, what]) => what);
    assert.deepEqual(includes, ['<fanmesh/node.h>']);
  });
});

describe('docs/embedding.md', () => {
  const text = (heading, kind) => snippet('docs/embedding.md', heading, kind);
  const write = (name, body) => {
    fs.writeFileSync(path.join(installed.folder, name), body);
    return path.join(installed.folder, name);
  };

  test('its_first_program_is_built_by_its_command_and_prints_what_it_says', async () => {
    write('app.c', text('A first program', 'c'));
    const [build, install, compile, ...more] = text('Build against it', 'sh').trim().split('\n');
    assert.deepEqual(more, []);
    assert.match(build, /cmake --build --preset release$/); // that was done, and the next one by Installed
    assert.match(install, /^cmake --install build\/release --prefix \/usr\/local$/);
    const env = { PKG_CONFIG_PATH: path.join(installed.lib, 'pkgconfig'), LD_LIBRARY_PATH: installed.lib };
    const printed = await runShell(`${compile}\n./app\n`, { env, cwd: installed.folder });
    assert.equal(printed, text('A first program', 'text'));
  });

  test('its_bridge_is_built_and_joins_a_cluster_by_its_commands', async (t) => {
    const [compile, run] = text('Examples', 'sh').trim().split('\n');
    const env = { ...process.env, PKG_CONFIG_PATH: path.join(installed.lib, 'pkgconfig'), LD_LIBRARY_PATH: installed.lib };
    const program = path.join(installed.folder, 'bridge');
    await runShell(compile.replace('-o bridge', `-o ${program}`), { env, cwd: root });
    const ports = { 4062: await freePort(), 4063: await freePort(), 4002: cluster.nodes[0].meshPort };
    const words = run.replace(/:(40\d\d)\b/g, (_, port) => `:${ports[port]}`).replace('./bridge', program).split(' ');
    const child = spawn(words[0], [...words.slice(1), `secret_file=${cluster.nodes[0].secretFile}`], { env, stdio: ['ignore', 'pipe', 'ignore'] });
    t.after(() => child.kill('SIGKILL'));
    let out = '';
    child.stdout.on('data', (data) => (out += data));
    await until('it has joined', () => out.startsWith('joined room:lobby '));
    await cluster.nodes[1].publish({ topic: 'room:lobby', event: 'msg', payload: { text: 'hello' } });
    await until('the message', () => out.includes('\nmsg {"text":"hello"} ['));
    child.kill('SIGTERM');
    await once(child, 'exit');
  });

  test('its_programs_compile_without_a_warning', () => {
    installed.build(write('first.c', text('A first program', 'c')));
    const handler = write('handler.c', text('Handlers', 'c'));
    installed.run('cc', ['-c', '-Wall', '-Wextra', '-Werror', ...installed.pkgConfig('--cflags'), handler, '-o', `${handler}.o`]);
  });
});

describe('the examples as nodes of a cluster', () => {
  test('what_ticker_publishes_is_seen_by_browsers_on_every_node', async (t) => {
    const node = await third(t, installed.build('include/examples/ticker.c', { linked: 'static' }));
    const channels = [];
    for (const other of [...cluster.nodes, node]) channels.push(await join(await connect(other), 'ticker', {}, ['tick']));
    for (const channel of channels) await until('two ticks', () => channel.got.length >= 2);
    const [first, second] = channels[0].got.map(({ payload }) => payload.value);
    assert.equal(second, first + 1);
  });

  test('guard_allows_refuses_replies_and_rewrites', async (t) => {
    const node = await third(t, installed.build('include/examples/guard.c'));
    const socket = await connect(node);
    const refused = await settled(socket.channel('room:1', { name: 'mallory' }).join());
    assert.deepEqual(refused, { status: 'error', response: { reason: 'not you' } });
    socket.channels.forEach((channel) => channel.leave());
    const far = await join(await connect(cluster.nodes[1]), 'room:1', {}, ['msg', 'said', 'shout', 'spam', 'time']);
    const channel = await join(await connect(node), 'room:1', { name: 'ann' }, ['msg', 'said']);
    assert.deepEqual(channel.joinResponse, { motto: 'be kind' });
    assert.deepEqual(await push(channel, 'spam', {}), { status: 'error', response: { reason: 'no spam' } });
    const time = await push(channel, 'time', {});
    assert.equal(time.status, 'ok');
    assert.deepEqual(Object.keys(time.response), ['unix']);
    assert.match((await push(channel, 'shout', { text: 'ahoy' })).response.id, /^\w+-\d+$/);
    assert.equal((await push(channel, 'msg', { text: 'hello' })).status, 'ok');
    await until('both are there', () => far.got.length === 2);
    assert.deepEqual(far.got.map(({ event, payload }) => [event, payload]), [['said', { text: 'ahoy' }], ['msg', { text: 'hello' }]]);
    await until('they come back, too', () => channel.got.length === 2);
  });

  test('bridge_prints_every_message_and_goes_on_from_its_cursor', async (t) => {
    const program = installed.build('include/examples/bridge.c');
    const lines = (node) => node.log.split('\n').filter((line) => /^(joined|n|gap|ended) ?/.test(line));
    const publish = (n) => cluster.nodes[1].publish({ topic: 'news:1', event: 'n', payload: { n } });
    const first = await third(t, program, { words: ['news:1', '-'], options: { name: 'bridge-1' } });
    await until('it has joined', () => lines(first).length === 1);
    await publish(1);
    await publish(2);
    await until('two messages', () => lines(first).length === 3);
    await first.stop();
    assert.match(lines(first)[3], /^ended: /);
    await publish(3);
    const cursor = lines(first)[2].match(/\[.*\]$/)[0];
    const second = await third(t, program, { words: ['news:1', cursor], options: { name: 'bridge-2' } });
    await until('it has resumed', () => lines(second).length >= 2);
    await publish(4);
    await until('the new one', () => lines(second).length === 3);
    assert.match(lines(second)[0], /^joined news:1 recovered=1 /);
    assert.deepEqual(lines(second).slice(1).map((line) => line.split(' ')[1]), ['{"n":3}', '{"n":4}']);
  });
});

describe('handlers', () => {
  const options = { handler_timeout_ms: '60s', workers: 2 };
  // For answers that never come: longer than a busy machine takes for those that do. The client waits longer still.
  const quick = { ...options, handler_timeout_ms: '5s' };
  const patient = { timeout: 60_000 };

  test('a_handler_is_not_given_the_token_that_the_node_reads', async (t) => {
    const node = await third(t, installed.build('tests/system/handlers.c'), { options: { ...options, token_secret: secret } });
    for (const params of [{ token: token({ sub: 'ann' }) }, { x: 'y', token: token({ sub: 'ann' }) }]) {
      const plain = await join(await connect(node, { params }), 'room:1', { n: 1 });
      assert.equal(plain.joinResponse.query, params.x ? 'x=y&vsn=2.0.0' : 'vsn=2.0.0');
    }
  });

  test('a_join_is_told_to_its_handler_with_what_the_client_came_with', async (t) => {
    const node = await third(t, installed.build('tests/system/handlers.c'), { options });
    const socket = await connect(node, { params: { token: 'a b' } });
    const plain = await join(socket, 'room:1', { n: 1 });
    assert.deepEqual(plain.joinResponse, { topic: 'room:1', query: 'token=a%20b&vsn=2.0.0', origin: '', params: { n: 1 }, local: true });
    const cursor = await follow(socket, 'room:2');
    const { topic, recovered, replayed } = cursor.replies[0];
    assert.deepEqual({ topic, recovered, replayed }, { topic: 'room:2', recovered: true, replayed: 0 });
    assert.ok(Array.isArray(cursor.replies[0].cursor));
    for (const [name, reason] of [['room:closed', 'forbidden'], ['shut:1', 'forbidden'], ['elsewhere', 'unmatched topic']]) {
      assert.deepEqual(await settled(socket.channel(name, {}).join()), { status: 'error', response: { reason } }, name);
    }
    assert.equal((await join(socket, 'free:1', {})).joinResponse.topic, undefined); /* no handler: the settings decide alone */
    const rewritten = await settled(socket.channel('room:3', { rewrite: true }).join());
    assert.deepEqual(rewritten, { status: 'error', response: { reason: 'forbidden' } });
  });

  test('nothing_is_pushed_to_a_topic_before_the_handler_has_allowed_the_join', async (t) => {
    const node = await third(t, installed.build('tests/system/handlers.c'), { options });
    const send = (raw, ...said) => raw.send(Buffer.concat(said.map((one) => frame(1, JSON.stringify(one)))));
    for (const topic of ['room:closed', 'asked:closed', 'asked:later']) {
      const watcher = await join(await connect(cluster.nodes[0]), topic);
      const raw = await rawSocket(node, '/socket/websocket?vsn=2.0.0');
      const params = topic === 'asked:later' ? { later: true } : {};
      send(raw, ['1', '1', topic, 'phx_join', params], ['1', '2', topic, 'msg', { from: 'a client that has not joined' }]);
      await raw.expect(/\[null,"2","[^"]*","phx_reply",\{"status":"error","response":\{"reason":"unmatched topic"\}\}\]/);
      await raw.expect(topic === 'asked:later' ? /\["1","1",.*"ok"/ : /\["1","1",.*"forbidden"/);
      if (topic === 'asked:later') send(raw, ['1', '3', topic, 'msg', { from: 'one that has' }]);
      else await node.publish({ topic, event: 'msg', payload: { from: 'the API' } });
      await until('what came later', () => watcher.got.length > 0);
      assert.equal(watcher.got[0].payload.from, topic === 'asked:later' ? 'one that has' : 'the API', topic);
      raw.close();
    }
  });

  test('an_event_that_the_handler_would_read_as_another_is_refused', async (t) => {
    const node = await third(t, installed.build('tests/system/handlers.c'), { options });
    const channel = await join(await connect(node), 'room:1', {});
    assert.deepEqual(await push(channel, 'msg\0never', {}), { status: 'error', response: { reason: 'invalid' } });
    assert.equal((await push(channel, 'msg', {})).response.seen, true);
  });

  test('an_answer_may_come_later_twice_or_never', async (t) => {
    const node = await third(t, installed.build('tests/system/handlers.c'), { options: quick });
    const socket = await connect(node, { rejoinAfterMs: () => 3_600_000, ...patient });
    const late = await join(socket, 'room:1', { later: true }, ['later', 'msg']);
    assert.deepEqual(late.joinResponse, { later: true });
    const pushed = await push(late, 'later', { n: 1 });
    assert.equal(pushed.response.later, true);
    assert.match(pushed.response.id, /^\w+-\d+$/);
    assert.deepEqual(await push(late, 'twice', {}), { status: 'ok', response: { answer: 1 } });
    await until('the second answer is counted', async () => (await node.metric('fanmesh_handler_late_total')) === 1);
    const never = [push(late, 'never', {}), settled(socket.channel('room:2', { never: true }).join())];
    for (const answer of never) assert.deepEqual(await answer, { status: 'error', response: { reason: 'timeout' } });
    await node.counts('fanmesh_handler_timeouts_total', 2);
    await until('nothing waits', async () => (await node.metric('fanmesh_handler_waiting')) === 0);
    assert.equal((await push(late, 'msg', {})).response.seen, true);
  });

  test('a_channel_left_or_a_client_gone_before_the_answer_leaves_nothing_behind', async (t) => {
    const node = await third(t, installed.build('tests/system/handlers.c'), { options });
    const socket = await connect(node);
    const watcher = await join(await connect(cluster.nodes[0]), 'room:1', {}, ['later']);
    const channel = await join(socket, 'room:1', {});
    channel.push('later', { n: 1 });
    leave(channel);
    socket.channel('room:9', { later: true }).join();
    const gone = await connect(node);
    const other = await join(gone, 'room:1', {});
    other.push('later', { n: 2 });
    await disconnect(gone);
    await until('pushes that were allowed are out, whoever is gone', () => watcher.got.length === 2);
    await disconnect(socket);
    await until('no question is open', async () => (await node.metric('fanmesh_handler_waiting')) === 0);
    await until('no channel is left', async () => (await node.metric('fanmesh_subscriptions')) === 0);
  });

  test('bytes_are_rewritten_and_wrong_answers_are_refused_to_the_program', async (t) => {
    const node = await third(t, installed.build('tests/system/handlers.c'), { options });
    const channel = await join(await connect(node), 'room:1', {}, ['bytes']);
    assert.equal((await push(channel, 'bytes', {})).response.sent, 3);
    await until('the bytes', () => channel.got.length === 1);
    assert.deepEqual([...new Uint8Array(channel.got[0].payload)], [0, 1, 2]);
    for (const [event, reason] of [['bad_reply', 'invalid'], ['bad_json', 'bad_json'], ['bad_event', 'reserved_event'], ['large', 'too_large']]) {
      assert.deepEqual(await push(channel, event, {}), { status: 'error', response: { reason } });
    }
  });

  test('a_stream_waits_for_its_handler_and_is_refused_by_status', async (t) => {
    const node = await third(t, installed.build('tests/system/handlers.c'), { options });
    const refused = await Stream.open(t, sseOf(node, 'room:closed'));
    assert.deepEqual([refused.status, refused.error.code], [403, 'forbidden']);
    const stream = await Stream.open(t, sseOf(node, ['room:1', 'room:closed']));
    assert.equal(stream.status, 200);
    const [joined] = await stream.joined();
    assert.equal(joined.said.query, 'topic=room%3A1&topic=room%3Aclosed');
    await until('the other is refused', () => stream.of('fm_refused').length === 1);
    assert.deepEqual(stream.of('fm_refused')[0].data, { topic: 'room:closed', reason: 'forbidden' });
    const id = await node.publish({ topic: 'room:1', event: 'msg', payload: 1 });
    await until('the first goes on', () => stream.ids.includes(id));
  });

  test('what_waits_for_handlers_is_bounded', async (t) => {
    const node = await third(t, installed.build('tests/system/handlers.c'), { options: { ...quick, handler_bytes: 65536, workers: 1 } });
    const channel = await join(await connect(node, patient), 'room:1', {});
    const answers = await Promise.all(Array.from({ length: 400 }, () => push(channel, 'never', { text: 'x'.repeat(200) })));
    const reasons = new Set(answers.map(({ response }) => response.reason));
    assert.deepEqual([...reasons].sort(), ['overloaded', 'timeout']);
    const overloaded = answers.filter(({ response }) => response.reason === 'overloaded').length;
    await node.counts('fanmesh_handler_overloads_total', overloaded);
    assert.equal((await push(channel, 'msg', {})).status, 'ok');
  });

  test('one_client_can_not_take_all_that_may_wait_for_handlers', async (t) => {
    const node = await third(t, installed.build('tests/system/handlers.c'), { options: { ...quick, handler_client_bytes: 16384, handler_bytes: '1MiB', workers: 1 } });
    const greedy = await join(await connect(node, patient), 'room:1', {});
    const other = await join(await connect(node, patient), 'room:1', {});
    const answers = Array.from({ length: 100 }, () => push(greedy, 'never', { text: 'x'.repeat(200) }));
    await until('it is full', async () => (await node.metric('fanmesh_limited_handlers_total')) > 0);
    assert.equal((await push(other, 'msg', {})).status, 'ok');
    const reasons = (await Promise.all(answers)).map(({ response }) => response.reason);
    assert.deepEqual([...new Set(reasons)].sort(), ['overloaded', 'timeout']);
    await node.counts('fanmesh_limited_handlers_total', reasons.filter((reason) => reason === 'overloaded').length);
    assert.equal(node.log.split('\n').filter((line) => line.includes('event=limit_reached limit=handler_client_bytes ')).length, 1);
    await until('there is room again', async () => (await push(greedy, 'msg', {})).status === 'ok');
  });

  test('a_slow_handler_keeps_no_other_client_waiting', async (t) => {
    const node = await third(t, installed.build('tests/system/handlers.c'), { options: { ...options, workers: 1 } });
    const slow = await join(await connect(node, patient), 'room:1', {});
    const free = await join(await connect(node, patient), 'free:1', {});
    const end = path.join(installed.folder, 'slow enough');
    let busy = true;
    const first = push(slow, 'slow', { until: end }).finally(() => (busy = false));
    await until('it is asked', async () => (await node.metric('fanmesh_handler_waiting')) === 1);
    for (let i = 0; i < 20; i++) assert.equal((await push(free, 'msg', {})).status, 'ok');
    assert.ok(busy, 'the handler is at it all the time');
    fs.writeFileSync(end, '');
    assert.equal((await first).status, 'ok');
  });
});
