// Settings that make no sense, and ports that are taken: one line says which and why, and nothing is started.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { startNode } from '../lib/cluster.mjs';
import { binary, Node, patience, workFolder } from '../lib/node.mjs';

const folder = workFolder();

function serve(settings, args = []) {
  const file = path.join(folder, 'bad.ini');
  fs.writeFileSync(file, settings);
  const env = { PATH: process.env.PATH };
  const { status, stderr } = spawnSync(binary, ['serve', '--config', file, ...args], { encoding: 'utf8', env, timeout: 10_000 * patience });
  return { status, stderr, lines: stderr.trim().split('\n') };
}

const good = 'listen = 127.0.0.1:1\napi_listen = none\nmesh_listen = none\n';

test('a_misspelt_option_is_named_with_its_line_and_the_nearest_name', () => {
  const { status, stderr } = serve(`${good}idel_ms = 60s\n`);
  assert.equal(status, 2, stderr);
  assert.match(stderr, /bad\.ini:4: .*idel_ms.*idle_ms/);
});

test('a_misspelt_key_of_a_rule_is_named_with_its_line', () => {
  const { status, stderr } = serve(`${good}[topic "room:*"]\njoin = anyone\nhistroy_count = 5\n`);
  assert.equal(status, 2, stderr);
  assert.match(stderr, /bad\.ini:6: .*histroy_count.*history_count/);
});

test('values_out_of_range_or_of_another_kind_are_named', () => {
  for (const [line, word] of [
    ['workers = many', /workers/],
    ['idle_ms = -1', /idle_ms/],
    ['idle_ms = 1ms', /idle_ms/],
    ['log_level = loud', /log_level.*debug/],
    ['listen = nowhere', /listen/],
    ['join = 10.0.0.1', /join/],
    ['[topics "room:*"]', /topics/],
    ['no equals sign', /bad\.ini:4/],
  ]) {
    const { status, stderr } = serve(`${good}${line}\n`);
    assert.equal(status, 2, `${line}: ${stderr}`);
    assert.match(stderr, word);
  }
});

test('what_people_get_wrong_first_is_told_in_one_line_that_says_what_to_do', () => {
  const text = path.join(folder, 'text.pem');
  fs.writeFileSync(text, 'not PEM\n');
  for (const [lines, said] of [
    ['join = anyone\n', /:4: join: "anyone" is not an address; give host:port of a node, or write it below a \[topic "pattern"\] if it is to say who may join a topic$/],
    ['[topic "a"]\njoin = anyone\n[topic "a"]\npush = anyone\n', /:6: \[topic "a"\]: there is a section of this pattern already; write all of it in one of the two$/],
    ['[topic "a*b"]\njoin = anyone\n', /:4: \[topic "a\*b"\]: a pattern is a topic of at most 255 bytes, or its beginning and one `\*` at the end$/],
    ['user_topic = user\n', /user_topic = user must hold \{user\} once/],
    [`tls_cert = ${text}\ntls_key = ${text}\n[topic "a"]\njoin = anyone\n`, /tls_cert \S+ can't be used: it holds no PEM block of the kind that belongs there$/],
  ]) {
    const { stderr, lines: all } = serve(`${good}${lines}`);
    assert.equal(all.length, 1, stderr);
    assert.match(all[0], said);
  }
});

test('a_backend_that_is_never_asked_or_told_anything_is_warned_of', () => {
  const check = (more) => {
    const file = path.join(folder, 'hook.ini');
    fs.writeFileSync(file, `${good}hook_url = http://127.0.0.1:1/\n${more}`);
    return spawnSync(binary, ['check-config', '--config', file], { encoding: 'utf8' }).stderr;
  };
  assert.match(check(''), /warning: hook_url: the backend is never asked or told anything; set hook_connect or hook_events, or join = hook/);
  for (const more of ['hook_connect = true\n', 'hook_events = join\n', '[topic "a"]\njoin = hook\n']) assert.doesNotMatch(check(more), /never asked/, more);
});

test('a_missing_settings_file_is_named', () => {
  const { status, stderr } = spawnSync(binary, ['serve', '--config', '/nowhere/fanmesh.ini'], { encoding: 'utf8' });
  assert.equal(status, 2, stderr);
  assert.match(stderr, /\/nowhere\/fanmesh\.ini/);
});

test('a_mesh_without_secret_does_not_listen_beyond_loopback', () => {
  const { status, stderr } = serve('listen = 127.0.0.1:1\napi_listen = none\nmesh_listen = 0.0.0.0:4002\n');
  assert.equal(status, 2, stderr);
  assert.match(stderr, /secret/);
});

test('all_ports_in_use_are_named_in_one_go_once_and_before_anything_is_ready', async (t) => {
  const first = await startNode(t);
  for (const alone of [false, true]) {
    const second = await Node.create({ name: `all-${alone}`, folder });
    for (const option of ['listen', 'api_listen', 'mesh_listen', 'mesh_ask_listen']) second.options[option] = first.options[option];
    if (alone) second.options.mesh_listen = 'none';
    second.spawn();
    assert.equal((await second.exited).code, 1, second.log);
    const taken = alone ? ['listen', 'api_listen'] : ['listen', 'api_listen', 'mesh_listen', 'mesh_ask_listen'];
    const want = taken.map((option) => `fanmesh serve: ${option} = ${first.options[option]}: another process listens on this address; choose another port or stop it`);
    assert.deepEqual(second.log.trim().split('\n'), want);
  }
});

test('an_address_that_this_machine_does_not_have_is_named_as_that', async () => {
  const node = await Node.create({ name: 'elsewhere', folder });
  node.options.mesh_listen = '203.0.113.1:5042';
  node.spawn();
  assert.equal((await node.exited).code, 1, node.log);
  assert.match(node.log, /^fanmesh serve: mesh_listen = 203\.0\.113\.1:5042: this machine has no such address; listen on one that it has [^\n]*\n$/);
});

test('a_port_in_use_is_named_with_its_option_and_the_other_node_goes_on', async (t) => {
  const first = await startNode(t);
  for (const option of ['listen', 'api_listen', 'mesh_listen', 'mesh_ask_listen']) {
    const second = await Node.create({ name: `second-${option}`, folder });
    second.options[option] = first.options[option];
    second.spawn();
    const { code } = await second.exited;
    assert.equal(code, 1, `${option}: ${second.log}`);
    assert.match(second.log, new RegExp(`${option}.*address_in_use|address_in_use.*${option}|${option}.*another process listens`), option);
    assert.equal((await fetch(`${first.api}/readyz`)).status, 200);
  }
});
