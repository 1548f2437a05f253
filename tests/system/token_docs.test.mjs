// docs/tokens.md: its settings, what its programs sign, and its page in a browser.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import test, { after } from 'node:test';
import { noBrowser, openPage, sharedBrowser } from '../lib/browser.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { binary, root, workFolder } from '../lib/node.mjs';
import { connect, disconnectAll, join, push, settled, WebSocket } from '../lib/phoenix.mjs';
import { fit, runNode, runPhp, runPython, runShell, snippet } from '../lib/snippets.mjs';
import { attempt, seconds, secret, token } from '../lib/tokens.mjs';
import { until } from '../lib/wait.mjs';

after(disconnectAll);
const folder = workFolder();
fs.writeFileSync(path.join(folder, 'token.secret'), `${secret}\n`, { mode: 0o600 });
const take = (heading, kind) => fit(snippet('docs/tokens.md', heading, kind), { folder });
const browser = await sharedBrowser(['--host-resolver-rules=MAP *.example 127.0.0.1']);

// Its settings, as rules and options of a test's node.
const [options, ...sections] = take('Settings', 'ini').split('[topic ');
const pairs = (text) => Object.fromEntries([...text.matchAll(/^(\w+) = (.*)$/gm)].map(([, key, value]) => [key, value]));
const settings = { options: pairs(options), rules: Object.fromEntries(sections.map((text) => [text.split('"')[1], pairs(text)])) };

test('its_settings_are_those_of_a_node', () => {
  const file = path.join(folder, 'fanmesh.ini');
  fs.writeFileSync(file, `api_listen = none\n${take('Settings', 'ini')}`);
  const printed = execFileSync(binary, ['check-config', '--config', file], { encoding: 'utf8' });
  assert.match(printed, /^# token_secret = set /m);
  assert.ok(!printed.includes(secret));
});

test('what_its_programs_sign_is_taken_and_grants_what_it_says', async (t) => {
  const { nodes } = await startCluster(t, 1, settings);
  const shell = take('Signing', 'sh').replace(/>token\)$/m, '| tee token)').split('\n')[0];
  const signed = {
    Node: await runNode(take('Signing', 'js')),
    Python: await runPython(take('Signing', 'python')),
    PHP: await runPhp(take('Signing', 'php')),
    fanmesh: await runShell(shell),
  };
  for (const [name, text] of Object.entries(signed)) {
    const socket = await connect(nodes[0], { params: { token: text.trim() } });
    const channel = await join(socket, 'room:1');
    assert.equal((await push(channel, 'msg', { from: name })).status, 'ok', name);
    await join(socket, 'user:ann:inbox');
    await join(socket, 'news');
    for (const topic of ['room:2', 'user:bob:inbox']) {
      const other = socket.channel(topic);
      assert.equal((await settled(other.join())).response.reason, 'not_granted', `${name}, ${topic}`);
      other.leave();
    }
  }
});

test('its_command_says_what_a_token_grants_or_why_it_is_refused', async () => {
  const lines = take('Signing', 'sh');
  const said = JSON.parse(await runShell(lines));
  assert.equal(said.user, 'ann');
  assert.deepEqual(said.topics, { 'room:1': ['join', 'push', 'presence'], 'team:*': ['join', 'push', 'presence'] });
  assert.equal(said.until, said.issued + 605);
  const verify = (text, env = {}) => runShell(lines.split('\n')[1], { cwd: fs.writeFileSync(path.join(folder, 'token'), text) ?? folder, env });
  await assert.rejects(verify(token({ exp: seconds(-10) })), /fanmesh token verify: token_expired: [^\n]*its time is over/);
  await assert.rejects(verify(token({}, { key: `${secret}x` })), /fanmesh token verify: bad_token: [^\n]*its signature is wrong/);
  await assert.rejects(verify('a.b.c'), /bad_token/);
  await assert.rejects(verify(''), /fanmesh token verify: standard input holds no token: fanmesh token verify <FILE/);
  await assert.rejects(verify('x'.repeat(10_000)), /longer than 8192/);
  const narrow = JSON.parse(await verify(token({ sub: 7, topics: { 'a:*': 'join' } }), { FANMESH_TOKEN_TOPICS: 'me:{user}' }));
  assert.deepEqual([narrow.user, narrow.topics], ['7', { 'a:*': ['join'], 'me:7': ['join', 'push', 'presence'] }]);
});

test('its_page_speaks_and_goes_on_with_a_new_token_without_a_close', { skip: noBrowser }, async (t) => {
  const web = workFolder();
  fs.copyFileSync(`${root}/tests/clients/node_modules/phoenix/priv/static/phoenix.mjs`, path.join(web, 'phoenix.mjs'));
  const page = take('Bringing it', 'html').replace('socket.connect();', 'window.closes = 0; socket.onClose(() => window.closes++); socket.connect();');
  fs.writeFileSync(path.join(web, 'index.html'), `<!doctype html>\n${page}`);
  const { nodes } = await startCluster(t, 3, { ...settings, options: { ...settings.options, web_root: web, token_leeway: '0' } });
  const opened = await openPage(t, browser, 'about:blank');
  const said = [];
  opened.on('console', (message) => message.type() === 'log' && said.push(message.text()));
  // The application's own backend. The first token is over soon after the page has it, however long the browser took to come.
  let asked = 0;
  await opened.route('**/token', (route) => route.fulfill({ body: token({ sub: 'ann', topics: ['room:*'], exp: seconds(asked++ ? 600 : 8) }) }));
  await opened.goto(`http://127.0.0.1:${nodes[0].port}/index.html`);
  await until('the page hears itself', () => said.includes('hello'), 20_000);
  await until('it has sent a new one', async () => (await nodes[0].metric('fanmesh_tokens_refreshed_total')) === 1, 20_000);
  await nodes[1].publish({ topic: 'room:1', event: 'msg', payload: { text: 'still here?' } });
  await until('it is still there', () => said.includes('still here?'));
  assert.equal(await opened.evaluate(() => window.closes), 0);
  assert.deepEqual(opened.problems, []);
});

test('a_cookie_lets_pages_of_the_nodes_own_host_in_and_of_listed_ones_and_no_others', { skip: noBrowser }, async (t) => {
  const web = workFolder();
  fs.writeFileSync(path.join(web, 'index.html'), '<!doctype html><title>cookie</title>');
  const { nodes } = await startCluster(t, 1, {
    ...settings,
    options: { ...settings.options, web_root: web, token_cookie: 'jwt', connect: 'token', origins: '*' },
  });
  const [node] = nodes;
  const socket = (page) =>
    page.evaluate(
      (url) =>
        new Promise((resolve) => {
          const ws = new WebSocket(url);
          ws.onopen = () => ws.send('["1","1","room:1","phx_join",{}]');
          ws.onmessage = ({ data }) => resolve(JSON.parse(data)[4].status);
          ws.onclose = () => resolve('refused');
        }),
      `ws://app.example:${node.port}/socket/websocket?vsn=2.0.0`,
    );
  const open = async (host) => {
    const page = await openPage(t, browser, 'about:blank');
    await page.context().addCookies([{ name: 'jwt', value: token({ sub: 'ann', topics: ['room:*'] }), domain: 'app.example', path: '/', httpOnly: true, sameSite: 'Lax' }]);
    await page.goto(`http://${host}:${node.port}/index.html`);
    return page;
  };
  const visit = async (host) => socket(await open(host));
  assert.equal(await visit('app.example'), 'ok');
  // Of the same site, so that the browser sends the cookie whatever SameSite says; and not listed, for `*` does not count.
  assert.equal(await visit('evil.app.example'), 'refused');
  assert.ok((await node.metric('fanmesh_tokens_refused_total')) >= 1);
  node.options.origins = `http://evil.app.example:${node.port}`;
  await node.restart();
  assert.equal(await visit('evil.app.example'), 'ok');
  const bare = await attempt(WebSocket, `${node.ws}/websocket?vsn=2.0.0`);
  assert.equal(bare.code, 'token_missing');
});
