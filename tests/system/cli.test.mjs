// The command line as people and scripts use it: what is printed, where, and with which exit code.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { makeCertificate } from '../lib/certificate.mjs';
import { key, linesOf, run, start } from '../lib/cli.mjs';
import { startCluster, startNode } from '../lib/cluster.mjs';
import { apiKey, binary, Node, root, workFolder } from '../lib/node.mjs';
import { freePort } from '../lib/ports.mjs';
import { Relay } from '../lib/relay.mjs';
import { until, within } from '../lib/wait.mjs';

const folder = workFolder();

function settings(name, text) {
  const file = path.join(folder, name);
  fs.writeFileSync(file, text);
  return file;
}

// ---- help and mistakes ----

// As the overview lists them: `token sign`, say.
const commandsOf = (out) => [...out.matchAll(/^  ([a-z]+(?:[- ][a-z]+)*)/gm)].map(([, name]) => name);

test('every_command_of_the_overview_prints_all_of_its_help_in_every_way_that_people_ask_for_it_and_ends_with_0', async () => {
  const overview = await run(['--help']);
  assert.equal(overview.code, 0);
  const commands = commandsOf(overview.out);
  for (const known of ['serve', 'publish', 'topics', 'delete-history', 'token sign', 'help']) assert.ok(commands.includes(known), overview.out);
  for (const command of commands) {
    const words = command.split(' ');
    const { code, out, err } = await run([...words, '--help']);
    assert.deepEqual([code, err], [0, ''], command);
    assert.ok(out.startsWith(`usage: fanmesh ${command}`), out);
    for (const other of [[...words, '-h'], ['help', ...words]]) assert.deepEqual(await run(other), { code, signal: null, out, err }, other.join(' '));
  }
  const whole = (await Promise.all(['sign', 'verify'].map(async (word) => (await run(['token', word, '--help'])).out))).join('\n');
  for (const words of [['token', '--help'], ['token', '-h'], ['help', 'token']]) assert.deepEqual(await run(words), { code: 0, signal: null, out: whole, err: '' });
});

test('help_says_of_each_option_what_it_takes_and_its_default', async () => {
  const { out } = await run(['disconnect', '--help']);
  assert.match(out, /^  --reason TEXT\n/m);
  assert.match(out, /^  --reconnect=false\n[^-]*Default: true\.$/m);
  assert.match((await run(['token', 'verify', '--help'])).out, /^  --token-jwks-url TEXT$/m);
  assert.doesNotMatch((await run(['token', 'verify', '--help'])).out, /--mesh-listen/);
});

test('help_of_serve_names_every_option_of_the_page_of_settings', async () => {
  const { out } = await run(['serve', '--help']);
  const page = fs.readFileSync(path.join(root, 'docs/settings.md'), 'utf8').split('## Topics')[0];
  const names = [...page.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]);
  assert.ok(names.length > 40);
  for (const name of names) assert.match(out, new RegExp(`^  --${name.replaceAll('_', '-')}([ =]|$)`, 'm'));
});

test('without_a_command_the_overview_goes_to_stderr_and_the_code_is_2', async () => {
  const { code, out, err } = await run([]);
  assert.equal(code, 2);
  assert.equal(out, '');
  assert.match(err, /^usage: fanmesh COMMAND/);
});

test('a_misspelt_command_or_option_is_one_line_with_the_nearest_and_the_code_is_2', async () => {
  for (const [args, line] of [
    [['serv'], 'fanmesh: unknown command "serv"; the nearest is `serve`'],
    [['chekc-config'], 'fanmesh: unknown command "chekc-config"; the nearest is `check-config`'],
    [['--dev'], 'fanmesh: the command comes first, then its options: `fanmesh serve --dev`'],
    [['xyzzy'], 'fanmesh: unknown command "xyzzy"; `fanmesh --help` lists all'],
    [['--verson'], 'fanmesh: unknown command "--verson"; the nearest is `--version`'],
    [['token'], 'fanmesh: `token` takes one more word, such as `token sign`; `fanmesh token --help` says all'],
    [['token', 'sing'], 'fanmesh: unknown command "token sing"; the nearest is `token sign`'],
    [['token', 'xyzzy'], 'fanmesh: unknown command "token xyzzy"; `fanmesh --help` lists all'],
    [['help', 'token', 'sing'], 'fanmesh: unknown command "token sing"; the nearest is `token sign`'],
    [['disconnect'], 'fanmesh disconnect: takes USER; 0 arguments were given'],
    [['disconnect', ''], 'fanmesh disconnect: takes USER, which is empty'],
    [['unsubscribe', 'ann', ''], 'fanmesh unsubscribe: takes USER TOPIC, of which one is empty'],
    [['publish', '--user', 'ann', 'user:ann', 'msg', '1'], 'fanmesh publish: with --user it takes EVENT PAYLOAD, and no TOPIC; 3 arguments were given'],
    [['revoke', '--issued-until', 'now', 'ann'], 'fanmesh revoke: --issued-until takes a whole number, not "now"'],
    [['token', 'sign'], 'fanmesh token sign: give one key: --token-secret-file (or FANMESH_TOKEN_SECRET), or --private-key-file'],
    [['token', 'sign', '--rights', 'join,fly'], 'fanmesh token sign: --rights takes join, push and presence, not "fly"'],
    [['serve', '--idle-sm', '5'], 'fanmesh serve: unknown option "--idle-sm"; the nearest is `--idle-ms`'],
    [['serve', '--handler-timout-ms', '5'], 'fanmesh serve: unknown option "--handler-timout-ms"; the nearest is `--handler-timeout-ms`'],
    [['publish', '--akc=local'], 'fanmesh publish: unknown option "--akc"; the nearest is `--ack`'],
    [['publish', 'room:1', 'msg'], 'fanmesh publish: takes TOPIC EVENT PAYLOAD; 2 arguments were given'],
    [['subscribe'], 'fanmesh subscribe: takes TOPIC; 0 arguments were given'],
    [
      ['publish', '--conflation-key', '', 'room:1', 'msg', '1'],
      'fanmesh publish: --conflation-key is empty; give it a value, or leave it out',
    ],
    [['publish', '--key=', 'room:1', 'msg', '1'], 'fanmesh publish: --key is empty; give it a value, or leave it out'],
    [['status', 'now'], 'fanmesh status: takes no arguments, but got "now"'],
    [['serve', 'now'], 'fanmesh serve: takes no arguments, but got "now"'],
    [['serve', '--dev', '--join', ''], 'fanmesh serve: --join is empty; give it a value, or leave it out'],
    [['serve', '--dev', '--config='], 'fanmesh serve: --config is empty; give it a value, or leave it out'],
    [['serve', '--listen'], 'fanmesh serve: --listen needs a value'],
    [['version', '--dev'], 'fanmesh version: unknown option "--dev"; --help lists all'],
    [['help', 'srve'], 'fanmesh: unknown command "srve"; the nearest is `serve`'],
  ]) {
    const { code, out, err } = await run(args);
    assert.equal(err, `${line}\n`);
    assert.equal(code, 2, args.join(' '));
    assert.equal(out, '');
  }
});

test('what_can_be_seen_to_be_wrong_without_a_node_is_one_line_that_says_what_to_do_and_the_code_is_2', async () => {
  const api = '; give the address of a node\'s api_listen, as http://host:port';
  const pattern = (prefix) => `takes one topic, and "${prefix}*" is a pattern of several; \`fanmesh topics --prefix "${prefix}"\` lists them`;
  const secret = settings('token.secret', 'a secret of tests that has at least 32 bytes\n');
  fs.chmodSync(secret, 0o600);
  for (const [args, line, env] of [
    [['topics', '--api-url', 'ws://127.0.0.1:4000'], `--api-url is "ws://127.0.0.1:4000": that is where clients connect (--socket-url of subscribe)${api}`],
    [['publish', '--url', 'WSS://host/socket', 'room:1', 'msg', '1'], `--api-url is "WSS://host/socket": that is where clients connect (--socket-url of subscribe)${api}`],
    [['status'], `FANMESH_URL is "ftp://host:4001": it is not http:// or https://${api}`, { FANMESH_URL: 'ftp://host:4001' }],
    [['status'], `FANMESH_API_URL is "ftp://host:4001": it is not http:// or https://${api}`, { FANMESH_API_URL: 'ftp://host:4001' }],
    [['connections', '--api-url', 'http://'], `--api-url is "http://": it has no host${api}`],
    [['revoke', '--api-url', 'http://127.0.0.1:99999', 'ann'], `--api-url is "http://127.0.0.1:99999": its port is not a number up to 65535${api}`],
    [['revoke', '--api-url', 'host:api', 'ann'], `--api-url is "host:api": its port is not a number up to 65535${api}`],
    [['presence', '--api-url', 'http://host:4001/?topic=1', 'room:1'], `--api-url is "http://host:4001/": it has a \`?\` or \`#\`, behind which no path can follow${api}`],
    [['subscribe', '--socket-url', 'http://host:4000/socket', 'room:1'], '--socket-url "http://host:4000/socket" can\'t be used: give ws://host:port/path or wss://..., without user names'],
    ...[['publish', 'room:*', 'msg', '1'], ['subscribe', 'room:*'], ['presence', 'room:*'], ['unsubscribe', 'ann', 'room:*'], ['delete-history', 'room:*'], ['connections', '--topic', 'room:*']]
      .map((args) => [args, pattern('room:')]),
    [['subscribe', '*'], 'takes one topic, and "*" is a pattern of several; `fanmesh topics` lists them'],
    [['topics', '--prefix', 'room:*'], '--prefix takes how the names begin, without `*`'],
    [['delete-history', 'ä'.repeat(128)], 'a topic has at most 255 bytes, this one has 256'],
    [['disconnect', '--connection', 'k3fa9Qz', 'ann'], '--connection takes the name of one, as `fanmesh connections` lists it (k3fa9Qz-64, say), not "k3fa9Qz"'],
    [['unsubscribe', '--connection', 'k3fa9Qz-0', 'room:1'], '--connection takes the name of one, as `fanmesh connections` lists it (k3fa9Qz-64, say), not "k3fa9Qz-0"'],
    [['token', 'sign', '--token-secret-file', secret, '--topics', 'room:1,*:2'], '--topics takes topics, or their beginning and one `*`, not "*:2"'],
    [['topics', '--limit', 'all'], '--limit takes a whole number, not "all"'],
    [['topics', '--api-key-file', '/nowhere'], 'api_key_file: can\'t read "/nowhere": No such file or directory'],
    [['serve', '--listen', '127.0.0.1'], '--listen: "127.0.0.1" is not an address; give host:port or none'],
  ]) {
    const { code, out, err } = await run(args, { env });
    assert.equal(err, `fanmesh ${args[0]}${args[0] === 'token' ? ' sign' : ''}: ${line}\n`);
    assert.deepEqual([code, out], [2, ''], args.join(' '));
  }
});

test('where_a_port_was_left_out_and_nobody_listens_that_is_said', async () => {
  const { code, err } = await run(['topics', '--api-url', 'http://127.0.0.5']); // where nobody has a port 80
  assert.equal(code, 1);
  assert.match(err, /^fanmesh topics: nothing listens at [^\n]* \(without a port it is that of http or https; a node's api_listen is 4001 by default\); [^\n]*\n$/);
});

test('version_is_one_line', async () => {
  for (const word of ['version', '--version', '-V', '-v']) {
    const { code, out } = await run([word]);
    assert.equal(code, 0);
    assert.match(out, /^fanmesh \d+\.\d+\.\d+\n$/);
  }
});

test('what_is_printed_into_a_full_disk_is_an_error', async () => {
  const full = fs.openSync('/dev/full', 'w');
  const child = spawn(binary, ['version'], { stdio: ['ignore', full, 'pipe'] });
  let err = '';
  child.stderr.on('data', (chunk) => (err += chunk));
  const code = await new Promise((resolve) => child.once('close', resolve));
  fs.closeSync(full);
  assert.equal(code, 1);
  assert.match(err, /can't write to standard output/);
});

// ---- settings ----

test('check_config_prints_every_effective_setting_with_its_origin_and_no_secret', async () => {
  const file = settings('good.ini', 'idle_ms = 30s\napi_key = not-to-be-seen\n[topic "room:*"]\njoin = anyone\n');
  const { code, out, err } = await run(['check-config', '--config', file, '--workers=3'], { env: { FANMESH_DRAIN_MS: '2s' } });
  assert.equal(code, 0, err);
  assert.match(out, /^idle_ms = 30s +; .*good\.ini:1$/m);
  assert.match(out, /^drain_ms = 2s +; FANMESH_DRAIN_MS$/m);
  assert.match(out, /^workers = 3 +; --workers$/m);
  assert.match(out, /^gap_ms = 5s +; default$/m);
  assert.match(out, /^# api_key = set +; .*good\.ini:2$/m);
  assert.match(out, /^\[topic "room:\*"\]\njoin = anyone\npush = nobody$/m);
  assert.ok(!`${out}${err}`.includes('not-to-be-seen'));
});

test('check_config_names_every_mistake_with_its_line_and_ends_with_2', async () => {
  const file = settings('bad.ini', 'listne = 1:1\nwindow = 99\nmount = socket\n[topic "a"]\npsuh = anyone\n');
  const { code, out, err } = await run(['check-config', '--config', file]);
  assert.equal(code, 2);
  assert.equal(out, '');
  assert.deepEqual(
    linesOf(err).map((line) => line.replace(/^fanmesh check-config: .*bad\.ini:/, '')),
    [
      '1: unknown key "listne"; the nearest is `listen`',
      '2: window is "99"; it must lie between 1 and 15',
      '5: unknown key "psuh" in a [topic] section; the nearest is `push`',
      'fanmesh check-config: mount: socket is not a path such as /socket: it begins with `/`, ends without, and needs no escapes',
    ],
  );
});

test('settings_come_from_a_pipe_as_well', () => {
  const script = `printf 'idle_ms = 7s\\napi_listen = none\\n' | "$0" check-config --config /dev/stdin`;
  const { status, stdout, stderr } = spawnSync('sh', ['-c', script, binary], { encoding: 'utf8', env: { PATH: process.env.PATH } });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^idle_ms = 7s +; \/dev\/stdin:1$/m);
});

test('what_check_config_prints_can_be_read_as_settings', async () => {
  const printed = await run(['check-config', '--dev']);
  const again = await run(['check-config', '--config', settings('printed.ini', printed.out)]);
  assert.equal(again.code, 0, again.err);
});

test('serve_does_not_start_with_settings_that_make_no_sense', async () => {
  const { code, err } = await run(['serve', '--api-listen', '127.0.0.1:1']);
  assert.equal(code, 2);
  assert.match(err, /^fanmesh serve: api_key: the API needs a key: [^\n]*\n$/);
});

test('connections_beyond_the_descriptors_are_cut_with_a_warning', async (t) => {
  const node = await startNode(t, { options: { connections_max: 9_000_000 } });
  assert.match(node.log, /level=warn event=connections_max_cut connections_max=9000000 to=\d+/);
  assert.doesNotMatch(node.log, /level=error/);
});

// ---- a node's life ----

async function devNode(t, args = []) {
  const [port, api, mesh, ask] = [await freePort(), await freePort(), await freePort(), await freePort()];
  const child = start([
    'serve', '--dev', '--listen', `127.0.0.1:${port}`, '--api-listen', `127.0.0.1:${api}`,
    '--mesh-listen', `127.0.0.1:${mesh}`, '--mesh-ask-listen', `127.0.0.1:${ask}`, ...args,
  ]);
  t.after(() => child.kill('SIGKILL'));
  child.api = `http://127.0.0.1:${api}`;
  child.ws = `ws://127.0.0.1:${port}/socket`;
  await until('it is ready', async () => (await fetch(`${child.api}/readyz`)).status === 200, 15_000);
  return child;
}

test('the_dev_profile_works_without_a_key_and_says_loudly_what_it_opened', async (t) => {
  const node = await devNode(t);
  await until('its log has come here', () => /event=topic_rule pattern="room:\*".*\n/.test(node.err));
  assert.match(node.err, /level=warn event=dev_profile why="--dev opens room:\*/);
  assert.match(node.err, /level=info event=topic_rule pattern="room:\*" join=anyone push=anyone/);
  assert.match(node.err, /level=info event=started version=\S+ name=\S+ incarnation=[0-9A-Za-z]+ /);
  const { code, out } = await run(['publish', '--api-url', node.api, 'room:1', 'msg', '{}']);
  assert.equal(code, 0);
  assert.match(out, /^[0-9A-Za-z]+-1\n$/);
});

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(`${signal.toLowerCase()}_sends_clients_away_with_1012_and_ends_with_0`, async (t) => {
    const node = await devNode(t, ['--drain-ms', '2s']);
    const client = start(['subscribe', '--socket-url', node.ws, 'room:1']);
    t.after(() => client.kill('SIGKILL'));
    await until('it is subscribed', async () => /fanmesh_subscriptions\{[^}]*\} [1-9]/.test(await (await fetch(`${node.api}/metrics`)).text()));
    node.kill(signal);
    const end = await within(20_000, 'the node ends', node.ended);
    assert.equal(end.code, 0, end.err);
    await until('the client was told', () => client.err.includes('code 1012'));
    for (const event of ['draining', 'drained', 'left', 'stopped']) assert.match(end.err, new RegExp(`event=${event} `));
  });
}

test('readiness_is_503_while_a_node_drains', async (t) => {
  const node = await devNode(t, ['--drain-ms', '60s']);
  const client = start(['subscribe', '--socket-url', node.ws, 'room:1']);
  t.after(() => client.kill('SIGKILL'));
  await until('it is subscribed', async () => /fanmesh_subscriptions\{[^}]*\} [1-9]/.test(await (await fetch(`${node.api}/metrics`)).text()));
  client.kill('SIGSTOP'); // it will not answer the close
  node.kill('SIGTERM');
  await until('it drains', async () => (await fetch(`${node.api}/readyz`)).status === 503);
  assert.equal((await fetch(`${node.api}/healthz`)).status, 200);
  node.kill('SIGTERM');
  const end = await within(30_000, 'the second TERM', node.ended); // half of the drain
  assert.equal(end.code, 1);
  assert.match(end.err, /event=stopped why="a second signal/);
});

test('a_node_says_at_its_start_what_it_has_and_of_what_it_has_not_nothing_that_misleads', async (t) => {
  const alone = await startNode(t, { options: { mesh_listen: 'none' } });
  await until('it is said', () => alone.logged('started') === 1);
  assert.match(alone.log, / mesh_tls=no tls=no tokens=no hooks=no .* mesh_listen=none mesh_ask_listen=none mesh_advertise=none mesh_ask_advertise=none join=0\n/);
  const { cert, key: tlsKey } = makeCertificate(folder);
  const options = { tls_cert: cert, tls_key: tlsKey, token_secret: 'a secret of tests that has at least 32 bytes', hook_url: 'http://127.0.0.1:1/' };
  const whole = await startNode(t, { options });
  await until('it is said', () => whole.logged('started') === 1);
  for (const node of [alone, whole]) {
    await until('it is ready', () => node.logged('ready') === 1);
    assert.match(node.log, / event=started [^]* event=ready why="there is no node to join; this one founded a cluster"\n/);
  }
  assert.match(whole.log, new RegExp(` tls=yes tokens=yes hooks=yes .* mesh_listen=${whole.meshAddress} mesh_ask_listen=127\\.0\\.0\\.1:${whole.askPort} mesh_advertise=${whole.meshAddress} `));
});

// ---- publish, status, subscribe ----

test('publish_prints_the_id_and_the_payload_arrives_byte_for_byte', async (t) => {
  const node = await startNode(t);
  const payload = '{"big":123456789012345678901234567890, "b":1,"a":[true,null]}';
  const first = await run(['publish', ...key(node), 'room:1', 'msg', payload]);
  assert.equal(first.code, 0, first.err);
  const again = await run(['publish', ...key(node), '--key', 'k1', '--conflation-key', 'c1', 'room:1', 'msg', '-'], { stdin: ' {"from":"stdin"}\n' });
  const double = await run(['publish', ...key(node), '--key', 'k1', 'room:1', 'msg', '-'], { stdin: '{"from":"stdin"}' });
  assert.match(again.out, /^\w+-2\n$/);
  assert.equal(double.out, again.out);
  assert.equal(again.err, '');
  assert.match(double.err, /^fanmesh publish: a message with this key was published before; [^\n]*\n$/);
  const { text } = await node.request('GET', '/api/topics/room%3A1/history');
  assert.ok(text.includes(payload), text);
  assert.ok(text.includes('{"from":"stdin"}'));
  assert.ok(text.includes('"key":"k1","conflation_key":"c1"'), text);
});

test('publish_says_in_one_line_why_it_did_not', async (t) => {
  const node = await startNode(t);
  const nobody = await freePort();
  for (const [args, code, line] of [
    [[...key(node), 'room:1', 'msg', '{not json'], 2, /^fanmesh publish: the payload is not JSON: .* \(byte \d+\)/],
    [[...key(node), 'nowhere', 'msg', '{}'], 1, /^fanmesh publish: unmatched topic: /],
    [[...key(node), 'room:1', 'phx_close', '{}'], 1, /^fanmesh publish: reserved_event: /],
    [['--api-url', node.api, 'room:1', 'msg', '{}'], 1, /^fanmesh publish: unauthorized: /],
    [['--api-url', `http://127.0.0.1:${nobody}`, 'room:1', 'msg', '{}'], 1, /nothing listens at/],
    [['--api-url', node.ws, 'room:1', 'msg', '{}'], 2, /that is where clients connect [^\n]*; give the address of a node's api_listen, as http:/],
    [['--api-url', node.api.replace('http:', 'https:'), 'room:1', 'msg', '{}'], 1, /no TLS with .* speaks plain http:/],
    [['--api-url', `http://${node.meshAddress}`, 'room:1', 'msg', '{}'], 1, /does not answer in HTTP; is this the address of its API/],
    [['--api-url', node.ws.replace('ws:', 'http:'), 'room:1', 'msg', '{}'], 1, /^fanmesh publish: /],
    [[...key(node), '--ack', 'replicated', 'room:1', 'msg', '{}'], 1, /^fanmesh publish: not_replicated: .*; its id is \w+-\d+$/],
  ]) {
    const end = await run(['publish', ...args]);
    assert.equal(end.code, code, `${args.join(' ')}: ${end.err}`);
    assert.equal(end.out, '');
    assert.equal(linesOf(end.err).length, 1, end.err);
    assert.match(end.err.trim(), line);
    assert.ok(!end.err.includes(apiKey));
  }
});

test('the_key_and_url_also_come_from_the_environment_and_url_is_short_for_what_a_command_dials', async (t) => {
  const node = await startNode(t);
  for (const name of ['FANMESH_API_URL', 'FANMESH_URL']) {
    const { code, err } = await run(['publish', 'room:1', 'msg', '1'], { env: { [name]: `${node.api}/`, FANMESH_API_KEY: apiKey } });
    assert.equal(code, 0, err);
  }
  assert.equal((await run(['publish', '--url', node.api, '--api-key-file', node.keyFile, 'room:1', 'msg', '1'])).code, 0);
  const other = settings('other.key', `${apiKey}\n`);
  const wrong = { FANMESH_API_URL: node.api, FANMESH_API_KEY: 'not the key of this node' };
  assert.equal((await run(['publish', '--api-key-file', other, 'room:1', 'msg', '1'], { env: wrong })).code, 0, 'the command line before the environment');
  const nobody = await freePort();
  const both = { FANMESH_URL: `http://127.0.0.1:${nobody}`, FANMESH_API_URL: node.api, FANMESH_API_KEY: apiKey };
  assert.equal((await run(['publish', 'room:1', 'msg', '1'], { env: both })).code, 0, 'the whole name counts');
  const { code, err } = await run(['subscribe', '--url', node.ws, '--last', '1', '--count', '1', 'room:1'], { env: { FANMESH_URL: both.FANMESH_URL } });
  assert.equal(code, 0, err);
});

test('status_prints_a_row_for_each_node_and_what_the_asked_one_does', async (t) => {
  const { nodes } = await startCluster(t, 2);
  // What one says of the other comes with its heartbeats, and its own look at its listener is a client for a moment.
  const wanted = [
    /^NODE +STATE +READY +HEARD +CLIENTS +BEHIND +MISSING +REPAIRED +DROPPED +GAPS +SLOW +MESH$/,
    /^node1 +asked +yes +- +0 +- +0 +0 +0 +0 +0 +127\.0\.0\.1:\d+$/,
    /^node2 +up +yes +\d\.\d s +0 +0 +0 +0 +0 +0 +0 +127\.0\.0\.1:\d+$/,
  ];
  let out;
  await until('both are idle', async () => {
    const asked = await run(['status', ...key(nodes[0])]);
    assert.equal(asked.code, 0, asked.err);
    out = asked.out;
    return wanted.every((row, i) => row.test(linesOf(out)[i]));
  }).catch((error) => assert.fail(`${error.message}\n${out}`));
  const lines = linesOf(out);
  assert.equal(new Set(lines.slice(0, 3).map((line) => line.lastIndexOf(' '))).size, 1, 'the columns are aligned');
  assert.match(out, /^ +0 {2}channels open$/m);
});

// A row as an object by the titles of its columns.
function rowsOf(out) {
  const lines = linesOf(out.slice(out.search(/^NODE /m))).map((line) => line.split(/ {2,}/));
  const end = lines.findIndex((cells) => cells.length < 5);
  return new Map(lines.slice(1, end).map((cells) => [cells[0], Object.fromEntries(lines[0].map((title, i) => [title, cells[i]]))]));
}

test('status_asked_at_one_node_shows_clients_and_repairs_of_all', async (t) => {
  const cluster = await startCluster(t, 3, { options: { heartbeat_ms: '100ms' } });
  const [a, b, c] = cluster.nodes;
  const client = start(['subscribe', '--socket-url', c.ws, 'room:1']);
  t.after(() => client.kill());
  const view = async (node) => rowsOf((await run(['status', ...key(node)])).out);
  await until('a knows of the client of c', async () => (await view(a)).get('node3').CLIENTS === '1', 30_000);
  await until('so does b', async () => [...(await view(b)).values()].map(({ CLIENTS }) => CLIENTS).join() === '0,0,1', 30_000);
  await a.publishAll(Array.from({ length: 20 }, (_, i) => ({ topic: 'room:1', event: 'msg', payload: i })));
  await until('they arrived', () => linesOf(client.out).length === 20);
  await cluster.restart(b); // it takes the 20 over by repair
  await until('a knows what b repaired', async () => Number((await view(a)).get('node2')?.REPAIRED) >= 20, 30_000);
  const { body } = await a.request('GET', '/api/cluster');
  assert.deepEqual(Object.keys(body.self.load), ['clients', 'missing', 'repaired', 'dropped', 'gaps', 'slow']);
});

test('status_json_is_for_programs', async (t) => {
  const [a, b] = (await startCluster(t, 2, { options: { down_ms: '500ms', heartbeat_ms: '100ms' } })).nodes;
  const status = async (...more) => {
    const { code, out } = await run(['status', '--json', ...more, ...key(a)]);
    return { code, ...JSON.parse(out) };
  };
  let well;
  await until('all is well', async () => (well = await status('--check')).code === 0);
  assert.deepEqual([well.well, well.wrong], [true, []]);
  assert.deepEqual(well.cluster.peers.map(({ name, state }) => [name, state]), [['node2', 'up']]);
  await b.kill();
  await until('it is down', async () => (await status()).cluster.peers[0].state === 'down');
  const ill = await status('--check');
  assert.deepEqual([ill.code, ill.well], [1, false]);
  assert.ok(ill.wrong.includes('1 of 1 other nodes out of reach'), JSON.stringify(ill.wrong));
});

test('status_says_who_is_out_of_reach_and_lists_no_earlier_life_of_a_node', async (t) => {
  const cluster = await startCluster(t, 3, { options: { down_ms: '1s', heartbeat_ms: '250ms' } });
  const [a, b, c] = cluster.nodes;
  await b.kill();
  await cluster.restart(b);
  c.freeze();
  const rowOf = (out, node) => linesOf(out).filter((line) => line.startsWith(`${node.name} `));
  const status = async (node) => (await run(['status', ...key(node)])).out;
  for (const [node, other] of [[a, b], [b, a]]) {
    let out;
    await until('c is out of reach, and the other is not', async () => {
      out = await status(node);
      return / down +- +[1-9][\d.]* s +- +0 +- /.test(rowOf(out, c)[0]) && / up +yes +[\d.]+ s +0 +0 +/.test(rowOf(out, other)[0])
        && /^1 of 2 other nodes out of reach\n\nNODE /.test(out);
    }, 20_000).catch((error) => assert.fail(`${error.message}\n${out}`));
    assert.equal(linesOf(out).filter((line) => line.startsWith('node')).length, 3, out);
    assert.doesNotMatch(out, /heard of/);
  }
  await b.kill();
  let alone; // isolated when the link is lost, down a second after it
  await until('it is isolated, and both are out of reach', async () => {
    alone = await status(a);
    return /^ISOLATED: this node reaches no other/.test(alone) && /^2 of 2 other nodes out of reach$/m.test(alone);
  }).catch((error) => assert.fail(`${error.message}\n${alone}`));
  c.thaw();
  await cluster.restart(b);
});

test('status_check_ends_with_1_while_something_is_wrong_and_says_what', async (t) => {
  const cluster = await startCluster(t, 2, { options: { down_ms: '60s', heartbeat_ms: '5s' } });
  const [a, b] = cluster.nodes;
  let well;
  await until('all is well', async () => (well = await run(['status', '--check', ...key(a)])).code === 0, 20_000).catch(() => assert.fail(well.out));
  assert.match(well.out, /^NODE /);
  await b.kill(); // down_ms is far: only the lost link can be known
  let cut;
  await until('the lost link is told', async () => (cut = await run(['status', '--check', ...key(a)])).code === 1);
  assert.match(cut.out, /^1 of 1 other nodes just lost the link; [^\n]*\n\nNODE /, cut.out);
  assert.match(cut.out, /^node2 +link lost +- +[\d.]+ s +- +\d+ +- /m);
  assert.equal((await run(['status', ...key(a)])).code, 0, 'without --check the code says whether the node answered');
  await cluster.restart(b);
});

test('the_cluster_says_ready_of_no_node_that_is_down', async (t) => {
  const cluster = await startCluster(t, 2, { options: { down_ms: '1s', heartbeat_ms: '250ms' } });
  const [a, b] = cluster.nodes;
  const peers = async () => (await a.clusterView()).peers;
  await until('it has said that it is ready', async () => (await peers()).map(({ ready }) => ready).join() === 'true');
  await b.kill();
  await until('it is down', async () => (await peers())[0].state === 'down');
  assert.equal((await peers())[0].ready, false);
  await cluster.restart(b);
});

test('status_counts_dials_that_the_other_side_ended', async (t) => {
  const node = await startNode(t);
  const stranger = await Node.create({ name: 'stranger', folder, secret: 'not the secret of that node', join: node });
  t.after(() => stranger.stop());
  await stranger.start();
  await until('a dial was ended', async () => (await stranger.metric('fanmesh_mesh_dials_ended_total')) > 0);
  const { out } = await run(['status', ...key(stranger)]);
  assert.match(out, /^ +[1-9]\d* {2}dials ended by the other side [^\n]*: compare secret and cluster$/m);
});

test('a_node_alone_says_that_it_is_ready', async (t) => {
  const node = await startNode(t);
  await until('it says so', () => node.logged('ready') > 0);
  assert.equal(node.logged('ready'), 1);
});

test('subscribe_prints_the_last_and_what_comes_and_ends_after_count', async (t) => {
  const node = await startNode(t);
  for (let i = 1; i <= 3; i++) await node.publish({ topic: 'room:1', event: 'msg', payload: { i } });
  const client = start(['subscribe', '--socket-url', node.ws, '--last', '2', '--count', '3', 'room:1']);
  await until('the last two came', () => linesOf(client.out).length === 2);
  const id = await node.publish({ topic: 'room:1', event: 'msg', payload: { i: 4 } });
  const { code, out, err } = await within(20_000, 'it ends', client.ended);
  assert.equal(code, 0, err);
  const messages = linesOf(out).map((line) => JSON.parse(line));
  assert.deepEqual(messages.map(({ event, payload }) => [event, payload.i]), [['msg', 2], ['msg', 3], ['msg', 4]]);
  assert.equal(messages[2].id, id);
});

test('subscribe_misses_nothing_and_doubles_nothing_when_its_connection_breaks', async (t) => {
  const node = await startNode(t);
  const relay = await Relay.open(t, () => node.port);
  const client = start(['subscribe', '--socket-url', `ws://${relay.address}/socket`, '--count', '30', 'room:1']);
  t.after(() => client.kill('SIGKILL'));
  await until('it is subscribed', async () => (await node.metric('fanmesh_subscriptions')) === 1);
  const ids = [];
  for (let i = 0; i < 30; i++) {
    if (i === 10) relay.cut();
    if (i === 20) relay.heal();
    ids.push(await node.publish({ topic: 'room:1', event: 'msg', payload: i }));
  }
  const { code, out, err } = await within(30_000, 'it has all', client.ended);
  assert.equal(code, 0, err);
  assert.deepEqual(linesOf(out).map((line) => JSON.parse(line).id), ids);
});

test('subscribe_prints_binary_messages_as_base64', async (t) => {
  const node = await startNode(t);
  const client = start(['subscribe', '--socket-url', node.ws, '--count', '2', 'room:1']);
  t.after(() => client.kill('SIGKILL'));
  await until('it is subscribed', async () => (await node.metric('fanmesh_subscriptions')) === 1);
  await node.publish({ topic: 'room:1', event: 'bin', payload_base64: 'AAEC' });
  await node.publish({ topic: 'room:1', event: 'msg', payload: 1 });
  const { out } = await within(20_000, 'it has both', client.ended);
  const [binaryOne, text] = linesOf(out).map((line) => JSON.parse(line));
  assert.equal(binaryOne.payload_base64, 'AAEC');
  assert.equal(text.payload, 1);
});

test('subscribe_says_why_it_can_not', async (t) => {
  const node = await startNode(t);
  const nobody = await freePort();
  for (const [args, line] of [
    [['--socket-url', node.ws, 'nowhere'], /^fanmesh subscribe: the node refuses the join: "unmatched topic" \(no \[topic\] rule of the node's settings matches it\)$/],
    [['--socket-url', node.ws, 'closed:1'], /^fanmesh subscribe: the node refuses the join: "forbidden"$/],
    [['--socket-url', `ws://127.0.0.1:${nobody}/socket`, 'room:1'], /can't connect to .*: Connection refused/],
    [['--socket-url', `${node.ws}/elsewhere`, 'room:1'], /answered with HTTP status 404 .*; is this where clients connect/],
    [['--socket-url', 'ws://no.such.host.invalid/socket', 'room:1'], /has a host that can't be found/],
  ]) {
    const { code, err } = await run(['subscribe', ...args]);
    assert.equal(code, 1, err);
    assert.equal(linesOf(err).length, 1, err);
    assert.match(err.trim(), line);
  }
});

test('a_socket_url_that_can_not_be_used_is_a_wrong_option', async () => {
  for (const url of ['http://x', 'ws://x:70000/socket', 'ws://me:s3cret@x/socket']) {
    const { code, err } = await run(['subscribe', '--socket-url', url, 'room:1']);
    assert.match(err, /^fanmesh subscribe: --socket-url "[^"]*" can't be used: give ws:\/\/host:port\/path or wss:\/\/\.\.\., without user names\n$/);
    assert.equal(code, 2);
    assert.doesNotMatch(err, /s3cret/);
  }
});

test('subscribe_speaks_tls_where_the_url_says_wss_and_says_why_it_trusts_nobody', async (t) => {
  const { cert, key: tlsKey } = makeCertificate(folder);
  const node = await startNode(t, { options: { tls_cert: cert, tls_key: tlsKey } });
  const plain = await startNode(t);
  const url = (of) => of.ws.replace('ws://127.0.0.1', 'wss://localhost');
  const long = 'x'.repeat(40_000); // more than one record
  await node.publish({ topic: 'room:1', event: 'msg', payload: { long } });
  const trusting = await run(['subscribe', '--socket-url', url(node), '--last', '1', '--count', '1', 'room:1'], { env: { SSL_CERT_FILE: cert } });
  assert.equal(trusting.code, 0, trusting.err);
  assert.deepEqual(JSON.parse(trusting.out).payload, { long });
  const strict = await run(['subscribe', '--socket-url', url(node), 'room:1']);
  assert.equal(strict.code, 1);
  assert.match(strict.err, /^fanmesh subscribe: no TLS with "wss:[^"]*": self[- ]signed certificate; .*SSL_CERT_FILE[^\n]*\n$/);
  const untold = await run(['subscribe', '--socket-url', node.ws, 'room:1']);
  assert.match(untold.err, /HTTP status 400 .*, and says "this port speaks TLS/);
  const none = await run(['subscribe', '--socket-url', url(plain), 'room:1'], { env: { SSL_CERT_FILE: cert } });
  assert.equal(none.code, 1);
  assert.match(none.err, /^fanmesh subscribe: no TLS with "wss:[^"]*": wrong version number; .* ws:\/\/ is for a node without tls_cert\n$/);
  const mute = net.createServer(() => {}).listen(0, '127.0.0.1');
  t.after(() => mute.close());
  await once(mute, 'listening');
  const args = ['--timeout-ms', '3000', '--socket-url', `wss://localhost:${mute.address().port}/socket`, 'room:1'];
  const nobody = await run(['subscribe', ...args], { env: { SSL_CERT_FILE: cert } });
  assert.equal(nobody.code, 1);
  assert.match(nobody.err, /^fanmesh subscribe: no TLS with "wss:[^"]*": it does not answer to TLS; /);
});

test('an_interrupt_ends_subscribe_with_0', async (t) => {
  const node = await startNode(t);
  const client = start(['subscribe', '--socket-url', node.ws, 'room:1']);
  await until('it is subscribed', async () => (await node.metric('fanmesh_subscriptions')) === 1);
  client.kill('SIGINT');
  const { code, err } = await within(20_000, 'it ends', client.ended);
  assert.equal(code, 0, err);
  assert.equal(err, '');
});

test('no_error_shows_what_may_be_secret_in_a_url', async (t) => {
  const node = await startNode(t);
  const nobody = await freePort();
  for (const args of [
    ['subscribe', '--socket-url', `ws://127.0.0.1:${nobody}/socket?token=s3cret`, 'room:1'],
    ['subscribe', '--socket-url', `${node.ws}/elsewhere?token=s3cret`, 'room:1'],
    ['status', '--api-url', `http://127.0.0.1:${nobody}?token=s3cret`],
    ['status', '--api-url', `http://me:s3cret@127.0.0.1:${nobody}`],
  ]) {
    const { code, err } = await run(args);
    assert.equal(code, args.includes('--api-url') && args.join().includes('?') ? 2 : 1, err);
    assert.match(err, /127\.0\.0\.1/);
    assert.doesNotMatch(err, /s3cret/);
  }
});
