// The snippets of the docs, run as they stand there; and for each of them, which test runs it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { after, describe, test } from 'node:test';
import { noBrowser, openPage, sharedBrowser } from '../lib/browser.mjs';
import { makeCertificate } from '../lib/certificate.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { install } from '../lib/fanmesh.mjs';
import { apiKey, binary, root, workFolder } from '../lib/node.mjs';
import { connect, disconnectAll, join } from '../lib/phoenix.mjs';
import { secret, token } from '../lib/tokens.mjs';
import { fit, runPython, runShell, snippet, snippets } from '../lib/snippets.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);
const browser = await sharedBrowser();

// By page and heading: the files that run its snippets (`here`: this one), or why none does.
const here = 'tests/system/snippets.test.mjs';
const held = {
  'README.md': {
    'Try it': { why: 'tests/web/feeder.test.mjs runs script/server, and script/test runs this' },
    'In a browser': { js: here, html: here, sh: { why: 'the package comes from the registry; tests/clients has it by its lock file' } },
    'In a backend': here,
    'Coming back without loss': here,
  },
  'docs/api.md': 'tests/system/api.test.mjs',
  'docs/embedding.md': 'tests/system/embed.test.mjs',
  'docs/guide.md': {
    'Settings': here,
    'Publishing': here,
    'Without WebSockets': { sh: 'tests/clients/sse.test.mjs', js: 'tests/clients/polling_chromium.test.mjs' },
    'Presence': 'tests/clients/presence.test.mjs',
    'The last value': here,
    'To one user': here,
    'The package fanmesh': 'tests/web/package.test.mjs',
    'TLS': here,
    'A cluster': here,
    'TLS on the mesh': here,
    'The command line': here,
    'Reloading': { why: 'it means every fanmesh of the machine; tests/system/reload.test.mjs sends HUP to one' },
  },
  'docs/hooks.md': 'tests/system/hooks_examples.test.mjs',
  'docs/operations.md': {
    'Installing': { why: 'tests/package installs the package in a bare system' },
    'The service': { why: 'it needs systemd' },
    'Status': here,
    'Limits': here,
    'Upgrading a cluster': { why: 'tests/package upgrades the package in a bare system' },
  },
  'docs/reliability.md': { 'Do it again': { why: 'hours of script/chaos and script/test-slow' } },
  'docs/settings.md': here,
  'docs/supabase.md': 'tests/clients/realtime_docs.test.mjs',
  'docs/tokens.md': 'tests/system/token_docs.test.mjs',
  'web/client/README.md': here,
};
const programs = ['sh', 'js', 'html', 'python', 'php', 'c', 'ini']; // the others show what is answered or printed

test('every_snippet_of_the_docs_is_run_by_a_test_or_has_a_reason', () => {
  const pages = execFileSync('git', ['ls-files', '*.md'], { cwd: root, encoding: 'utf8' }).trim().split('\n');
  const used = new Set();
  for (const page of pages) {
    for (const { heading, kind } of snippets(page)) {
      if (!programs.includes(kind)) continue;
      const where = `${page}, ${heading}, ${kind}`;
      let by = held[page];
      if (typeof by === 'object') by = by[heading];
      if (typeof by === 'object') by = by.why ? by : by[kind];
      assert.ok(by, `${where}: which test runs it?`);
      used.add(page);
      if (by.why) continue;
      const source = fs.readFileSync(path.join(root, by), 'utf8');
      assert.ok(source.includes('lib/snippets.mjs') && source.includes(page), `${where}: ${by} does not take it from the page`);
    }
  }
  assert.deepEqual(Object.keys(held).filter((page) => !used.has(page)), []);
});

test('no_snippet_below_a_named_heading_is_left_out_unseen', () => {
  assert.throws(() => snippet('docs/guide.md', 'Publishing', 'perl'), /0 snippets in perl/);
  assert.throws(() => snippet('docs/operations.md', 'Installing', 'sh'), /2 snippets in sh/);
});

describe('README.md', () => {
  // As script/server starts them, with what a page needs in the folder that they serve.
  const start = async (t) => {
    const folder = install();
    const { nodes } = await startCluster(t, 3, { rules: {}, options: { api_key_file: null, dev: true, web_root: folder } });
    return { folder, nodes };
  };
  const page = (js) => snippet('README.md', 'In a browser', 'html').replace('// the code above', () => js);
  const open = async (t, { folder, nodes }, js) => {
    fs.writeFileSync(path.join(folder, 'snippet.html'), fit(page(js), { nodes }));
    const opened = await openPage(t, browser, 'about:blank');
    opened.said = [];
    opened.on('console', (message) => message.type() === 'log' && opened.said.push(message.text()));
    await opened.goto(`http://127.0.0.1:${nodes[0].port}/snippet.html`);
    return opened;
  };

  test('its_page_gets_what_it_says_itself_and_what_the_backend_publishes_on_any_node', { skip: noBrowser }, async (t) => {
    const at = await start(t);
    const opened = await open(t, at, snippet('README.md', 'In a browser', 'js'));
    await until('the page hears itself', () => opened.said.includes('hello from a browser'));
    const curl = snippet('README.md', 'In a backend', 'sh');
    await runShell(fit(curl, at));
    await runShell(fit(curl, { nodes: at.nodes.slice(1) }));
    await until('both', () => opened.said.length === 3);
    assert.deepEqual(opened.said, ['hello from a browser', 'hello from a backend', 'hello from a backend']);
    assert.deepEqual(opened.problems, []);
  });

  test('its_page_that_comes_back_gets_what_it_missed_once', { skip: noBrowser }, async (t) => {
    const at = await start(t);
    const [connected] = snippet('README.md', 'In a browser', 'js').split('const channel');
    const opened = await open(t, at, `${connected}globalThis.socket = socket\n${snippet('README.md', 'Coming back without loss', 'js')}`);
    const say = (node, text) => node.publish({ topic: 'room:lobby', event: 'msg', payload: { text }, ack: 'replicated' });
    await until('it has joined', async () => (await at.nodes[0].metric('fanmesh_subscriptions')) === 1);
    await say(at.nodes[1], 'one');
    await until('the first', () => opened.said.length === 1);
    await opened.evaluate(() => new Promise((done) => globalThis.socket.disconnect(done)));
    await until('it is gone', async () => (await at.nodes[0].metric('fanmesh_subscriptions')) === 0);
    await say(at.nodes[0], 'two');
    await say(at.nodes[2], 'three');
    await opened.evaluate(() => globalThis.socket.connect());
    await until('what was missed', () => opened.said.length >= 3);
    await say(at.nodes[1], 'four');
    await until('what is new', () => opened.said.includes('four'));
    assert.deepEqual(opened.said.toSorted(), ['four', 'one', 'three', 'two']);
    assert.deepEqual(opened.problems, []);
  });

  test('what_was_published_on_the_first_node_is_there_at_the_third', async (t) => {
    const printed = await runShell(fit(snippet('README.md', 'Coming back without loss', 'sh'), await start(t)));
    assert.deepEqual(JSON.parse(printed.trim().split('\n').at(-1)).payload, { text: 'you missed me' });
  });
});

describe('docs/guide.md', () => {
  const guide = (heading, kind, options) => fit(snippet('docs/guide.md', heading, kind), options);
  const check = (text, folder) => {
    const file = path.join(folder, 'fanmesh.ini');
    fs.writeFileSync(file, text);
    return execFileSync(binary, ['check-config', '--config', file], { encoding: 'utf8' });
  };

  test('its_settings_with_the_limits_of_operations_its_secrets_and_its_cluster_are_settings_of_a_node', async () => {
    const folder = path.join(workFolder(), 'made');
    await runShell(guide('Settings', 'sh', { folder }));
    const settings = check(guide('Settings', 'ini', { folder }), folder);
    assert.match(settings, /^\[topic "room:\*"\]$/m);
    const limits = snippet('docs/operations.md', 'Limits', 'ini');
    assert.match(check(limits + guide('Settings', 'ini', { folder }), folder), /^push_bytes_per_s = 64KiB /m);
    const cluster = guide('A cluster', 'sh', { folder }).replaceAll('fanmesh serve', 'fanmesh check-config');
    assert.equal((await runShell(cluster, { cwd: folder })).match(/^# secret = set /gm).length, 2);
  });

  test('its_certificates_are_settings_of_a_node', async () => {
    const folder = workFolder();
    fs.writeFileSync(path.join(folder, 'api.key'), apiKey, { mode: 0o600 });
    const common = fit('api_key_file = /etc/fanmesh/api.key\n[topic "x"]\njoin = anyone\n', { folder });
    for (const name of ['example.org', 'apps.example.net']) {
      const { cert, key } = makeCertificate(folder, name, [name]);
      fs.renameSync(cert, path.join(folder, `${name}.pem`));
      fs.renameSync(key, path.join(folder, `${name}.key`));
    }
    assert.match(check(guide('TLS', 'ini', { folder }) + common, folder), /^tls_cert = \S+example\.org\.pem,\S+apps\.example\.net\.pem/m);
    await runShell(guide('TLS on the mesh', 'sh'), { cwd: folder });
    assert.match(check(`mesh_listen = 10.0.0.1:4002\nmesh_ask_listen = 10.0.0.1:4003\n${guide('TLS on the mesh', 'ini', { folder })}${common}`, folder), /^mesh_tls_ca = /m);
  });

  test('its_rules_for_the_last_value_and_for_one_user_are_settings_of_a_node', () => {
    const folder = workFolder();
    const last = check(`api_listen = none\n${guide('The last value', 'ini', { folder })}`, folder);
    assert.match(last, /^\[topic "price:\*"\]$[^]*^last = 1/m);
    fs.writeFileSync(path.join(folder, 'token.key'), secret, { mode: 0o600 });
    const user = check(`api_listen = none\ntoken_secret_file = ${folder}/token.key\n${guide('To one user', 'ini', { folder })}`, folder);
    assert.match(user, /^token_topics = user:\{user\} [^]*^\[topic "user:\*"\]$[^]*^join = token/m);
  });

  test('its_commands_are_those_of_the_binary', async (t) => {
    const { nodes } = await startCluster(t, 2, { options: { token_secret: secret, ack_timeout_ms: '9s' } });
    const folder = workFolder();
    fs.writeFileSync(path.join(folder, 'api.key'), `${apiKey}\n`, { mode: 0o600 });
    const socket = await connect(nodes[1], { params: { token: token({ sub: 'ann' }) }, reconnectAfterMs: () => 1e6 });
    await join(socket, 'room:1');
    const closed = new Promise((resolve) => socket.onClose(resolve));
    const [listed, told] = (await runShell(guide('The command line', 'sh', { folder }), { env: { FANMESH_API_URL: nodes[0].api } })).trim().split('\n').map((line) => JSON.parse(line));
    assert.equal(listed.user, 'ann');
    assert.equal(told.count, 1);
    assert.equal((await closed).reason, 'logged out');
  });

  test('what_it_publishes_by_curl_and_from_python_arrives_and_a_retry_at_another_node_is_no_second_message', async (t) => {
    const { nodes } = await startCluster(t, 2, { options: { ack_timeout_ms: '20s' } });
    const folder = workFolder();
    fs.writeFileSync(path.join(folder, 'api.key'), `${apiKey}\n`, { mode: 0o600 });
    const channel = await join(await connect(nodes[1]), 'room:1', {}, ['msg']);
    const curl = guide('Publishing', 'sh', { nodes, folder });
    const first = JSON.parse(await runShell(curl));
    assert.deepEqual(JSON.parse(await runShell(curl)), { ...first, duplicate: true, confirmed: first.confirmed });

    const python = guide('Publishing', 'python', { nodes, folder });
    const id = await runPython(python);
    assert.match(id, /^\w+-\d+\n$/);
    assert.equal(await runPython(python), id);
    await until('it has both', () => channel.got.length === 2);
    assert.deepEqual(channel.got.map(({ payload }) => payload), [{ text: 'hi' }, { text: 'hello from Python' }]);
    await nodes[0].kill();
    assert.equal(await runPython(python), id, 'the other node knows the key');
    assert.notEqual(await runPython(python.replace('4712', '4713')), id);
    await until('the third', () => channel.got.length === 3);
    await assert.rejects(runPython(python.replace('"room:1"', '"nowhere"')), /RuntimeError: not published: .*unmatched topic/);
  });
});

test('the_rule_of_the_page_of_settings_is_one', () => {
  const file = path.join(workFolder(), 'fanmesh.ini');
  fs.writeFileSync(file, `api_listen = none\n${snippet('docs/settings.md', 'Topics', 'ini')}`);
  assert.match(execFileSync(binary, ['check-config', '--config', file], { encoding: 'utf8' }), /^history_count = 100$/m);
});

test('the_table_of_the_page_of_operations_is_what_status_prints', async (t) => {
  const { nodes } = await startCluster(t, 3);
  const printed = await runShell(fit(snippet('docs/operations.md', 'Status', 'sh'), { folder: nodes[0].folder }).replace('api.key', 'node1.key'), {
    env: { FANMESH_API_URL: nodes[0].api },
  });
  const columns = (text) => text.split('\n').slice(0, 4).map((line) => line.split(/ {2,}/)[0]);
  const shown = snippet('docs/operations.md', 'Status', '');
  assert.equal(printed.split('\n')[0].replace(/ +/g, ' '), shown.split('\n')[0].replace(/ +/g, ' '));
  assert.deepEqual(columns(printed), columns(shown));
});

describe('web/client/README.md', () => {
  const page = 'web/client/README.md';

  test('its_page_goes_on_where_it_was_when_it_is_loaded_again', { skip: noBrowser }, async (t) => {
    const folder = install();
    const rules = { 'orders:*': { join: 'anyone', push: 'anyone', history_count: 100 } };
    const { nodes } = await startCluster(t, 2, { rules, options: { web_root: folder, origins: '*' } });
    const at = (text) => text.replace('wss://a.example', `ws://127.0.0.1:${nodes[0].port}`).replace('wss://b.example', `ws://127.0.0.1:${nodes[1].port}`);
    const [first, kept] = [snippet(page, 'fanmesh', 'js'), snippet(page, 'mesh.subscribe(topic, options)', 'js')];
    const map = snippet(page, 'Without a bundler', 'html');
    const board = `
      const board = { rows: [], replaceAll(rows) { this.rows = rows }, apply(event, payload) { this.rows.push([event, payload]) } }
      globalThis.board = board\n`;
    const html = (name, code) => fs.writeFileSync(path.join(folder, name), `<!doctype html>\n${map}<script type="module">${code}</script>\n`);
    const site = `http://127.0.0.1:${nodes[0].port}`;
    const open = async (name) => {
      const opened = await openPage(t, browser, 'about:blank');
      await opened.route(`${site}/orders`, (route) => route.fulfill({ json: [] })); // the application's own backend
      await opened.goto(`${site}/${name}`);
      return opened;
    };
    html('first.html', at(`${first.replace(/(import .*\n)/, `$1${board}`)}\nglobalThis.pushed = id`));
    const rows = (opened) => opened.evaluate(() => globalThis.board?.rows ?? []);
    const one = await open('first.html');
    await until('its push is answered and is there', async () => (await one.evaluate(() => globalThis.pushed)) && (await rows(one)).length === 1);
    assert.deepEqual(await rows(one), [['note', { order: 7, text: 'called the customer' }]]);
    assert.deepEqual(one.problems, []);

    const [head] = first.split('const orders');
    const rest = `
      const load = () => { globalThis.loads = (globalThis.loads ?? 0) + 1 }
      const onMessage = ({ event, payload }) => board.apply(event, payload)\n`;
    html('kept.html', at(`${head.replace(/(import .*\n)/, `$1${board}${rest}`)}${kept}`));
    const again = await open('kept.html');
    const publish = (n) => nodes[1].publish({ topic: 'orders:eu', event: 'n', payload: n, ack: 'replicated' });
    await until('its state is loaded', () => again.evaluate(() => globalThis.loads === 1));
    await publish(1);
    await until('the first', async () => (await rows(again)).length === 1);
    await again.goto('about:blank');
    await publish(2);
    await again.goto(`${site}/kept.html`);
    await until('what it missed', async () => (await rows(again)).length === 2);
    assert.deepEqual(await rows(again), [['n', 1], ['n', 2]]);
    assert.equal(await again.evaluate(() => globalThis.loads), undefined, 'nothing had to be loaded anew');
    assert.deepEqual(again.problems, []);
  });
});
