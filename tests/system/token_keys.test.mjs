// Where a node has the keys from that it knows tokens by, and what becomes of those that change, are weak, or do not come.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { makeCertificate } from '../lib/certificate.mjs';
import { run } from '../lib/cli.mjs';
import { startCluster, startNode } from '../lib/cluster.mjs';
import { binary, Node, workFolder } from '../lib/node.mjs';
import { WebSocket } from '../lib/phoenix.mjs';
import { freePort } from '../lib/ports.mjs';
import { attempt, jwk, keyPair, p256, pem, Provider, rsa, secret, token } from '../lib/tokens.mjs';
import { patience, until } from '../lib/wait.mjs';

const folder = workFolder();
let files = 0;
function file(text, mode = 0o600) {
  const name = path.join(folder, `file${files++}`);
  fs.writeFileSync(name, text, { mode });
  return name;
}
const rules = { 'room:*': { join: 'token', push: 'token' } };

async function ask(node, text) {
  const result = await attempt(WebSocket, `${node.ws}/websocket?vsn=2.0.0`, { headers: { authorization: `Bearer ${text}` } });
  result.socket?.terminate();
  return result.status === 101 ? 'taken' : result.code;
}
const by = (key, alg, kid) => token({ sub: 'ann' }, { alg, key, kid });

// What `fanmesh serve` says of settings that stop it.
function start(options) {
  const text = Object.entries({ api_listen: 'none', mesh_listen: 'none', ...options }).map(([k, v]) => `${k} = ${v}\n`).join('');
  const run = spawnSync(binary, ['serve', '--config', file(`${text}\n[topic "a"]\njoin = token\n`)], { encoding: 'utf8', timeout: 60_000, env: { PATH: process.env.PATH } });
  return { code: run.status, said: run.stderr };
}

test('weak_and_wrong_keys_stop_the_start_with_a_sentence_that_says_why', async () => {
  const small = rsa(1024);
  const p384 = keyPair('ec', { namedCurve: 'P-384' });
  const ed = keyPair('ed25519');
  const good = rsa();
  const set = (...keys) => file(JSON.stringify({ keys }));
  const cases = [
    [{ token_secret: 'only-31-bytes-of-secret-in-here' }, /token_secret has 31 bytes; it must have 32 to 4096/],
    [{ token_secret_file: file('short\n') }, /token_secret has 5 bytes|token_secret_file: token_secret has 5 bytes/],
    [{ token_key_file: '/nowhere' }, /token_key_file = "?\/nowhere"?: No such file or directory/],
    [{ token_key_file: folder }, /it is not a file/],
    [{ token_key_file: file('') }, /it holds no key/],
    [{ token_key_file: file('hello') }, /it holds no key/],
    [{ token_key_file: file(pem(small.publicKey)) }, /an RSA key needs at least 2048 bits/],
    [{ token_key_file: file(pem(p384.publicKey)) }, /another curve than P-256/],
    [{ token_key_file: file(pem(ed.publicKey)) }, /neither RSA nor of the curve P-256/],
    [{ token_key_file: file(good.privateKey.export({ type: 'pkcs8', format: 'pem' })) }, /it holds a private key/],
    [{ token_key_file: file(`${pem(good.publicKey)}${pem(good.publicKey).slice(0, 100)}`) }, /it is not whole PEM/],
    [{ token_key_file: file(pem(good.publicKey).replace(/[A-Z]{8}/, 'AAAAAAAA')) }, /a key in it can't be read|not a valid key/],
    [{ token_key_file: file('{"keys":') }, /it is not a JSON object with an array/],
    [{ token_key_file: file('{"keys":[]}') }, /it holds no key for HS256/],
    [{ token_key_file: set(jwk(small.publicKey)) }, /at least 2048 bits/],
    [{ token_key_file: set({ kty: 'oct', k: crypto.randomBytes(31).toString('base64url') }) }, /at least 32 bytes/],
    [{ token_key_file: set(jwk(good.privateKey)) }, /a private key lies among those/],
    [{ token_key_file: set({ ...jwk(p256().publicKey), x: jwk(p256().publicKey).x }) }, /not a valid key of its kind/],
    [{ token_key_file: set({ kty: 'EC', crv: 'P-256', x: 'AA', y: 'AA' }) }, /an x or y of 32 bytes/],
    [{ token_key_file: set({ kty: 'RSA', n: jwk(good.publicKey).n, e: 'AAAAAAAAAAAAAAAA' }) }, /usable n or e/],
    [{ token_key_file: set({ kty: 'RSA', n: jwk(good.publicKey).n, e: 'Ag' }) }, /not a valid key of its kind/],
    [{ token_key_file: file(JSON.stringify({ keys: [{ kty: 'oct', k: crypto.randomBytes(32).toString('base64url') }] }), 0o604) }, /where others can read it/],
    [{ token_jwks_url: 'http://id.example/keys' }, /token_jwks_url.*https/],
    [{ token_jwks_url: 'http://127.0.0.1.id.example/keys' }, /token_jwks_url.*https/],
    [{ token_jwks_url: 'file:///etc/passwd' }, /token_jwks_url.*http/],
    [{ token_jwks_url: 'https://user:pass@id.example/' }, /token_jwks_url.*user or password/],
    [{}, /there are no keys to know tokens by/],
  ];
  for (const [options, said] of cases) {
    const run = start({ listen: `127.0.0.1:${await freePort()}`, ...options });
    assert.ok(run.code === 1 || run.code === 2, `${JSON.stringify(options)}: ${run.code} ${run.said}`);
    assert.match(run.said, said);
    assert.ok(!run.said.includes('only-31-bytes'));
  }
});

test('keys_come_as_pem_several_in_a_file_and_as_certificates', async (t) => {
  const [a, b, e, c] = [rsa(), rsa(3072), p256(), makeCertificate(folder, 'signer')];
  const node = await startNode(t, { rules, options: { token_key_file: file(`${pem(a.publicKey)}\n# the next\n${pem(b.publicKey)}${pem(e.publicKey)}${fs.readFileSync(c.cert, 'utf8')}`) } });
  for (const [key, alg] of [[a.privateKey, 'RS256'], [b.privateKey, 'RS256'], [e.privateKey, 'ES256'], [crypto.createPrivateKey(fs.readFileSync(c.key)), 'ES256']]) {
    assert.equal(await ask(node, by(key, alg, 'any')), 'taken');
  }
  assert.equal(await ask(node, by(rsa().privateKey, 'RS256')), 'bad_token');
  assert.equal(await ask(node, by(secret, 'HS256')), 'token_key');
});

test('a_jwks_file_may_hold_secrets_and_keys_that_are_not_for_us', async (t) => {
  const [a, e] = [rsa(), p256()];
  const k = crypto.randomBytes(32);
  const keys = [
    jwk(a.publicKey, { kid: 'a', use: 'sig', alg: 'RS256', x5t: 'x' }),
    jwk(e.publicKey, { kid: 'e', key_ops: ['verify'] }),
    { kty: 'oct', kid: 'k', k: k.toString('base64url') },
    jwk(rsa().publicKey, { use: 'enc' }),
    jwk(rsa().publicKey, { alg: 'PS256' }),
    jwk(keyPair('ed25519').publicKey),
    { kty: 'what?' },
  ];
  const node = await startNode(t, { rules, options: { token_key_file: file(JSON.stringify({ keys })) } });
  assert.equal(await ask(node, by(a.privateKey, 'RS256', 'a')), 'taken');
  assert.equal(await ask(node, by(e.privateKey, 'ES256', 'e')), 'taken');
  assert.equal(await ask(node, by(k, 'HS256', 'k')), 'taken');
  assert.equal(await ask(node, by(k, 'HS256')), 'taken');
  assert.equal(await ask(node, by(k, 'HS256', 'a')), 'token_key');
});

test('HUP_changes_keys_and_what_tokens_must_say', async (t) => {
  const [a, b] = [rsa(), rsa()];
  const name = file(pem(a.publicKey));
  const node = await startNode(t, { rules, options: { token_key_file: name, token_secret: secret } });
  assert.equal(await ask(node, by(a.privateKey, 'RS256')), 'taken');
  fs.writeFileSync(name, pem(b.publicKey));
  assert.match(await node.reload(), /event=token_keys_changed added=1 removed=1\n[^]*event=reloaded changes=2 need_restart=0/);
  assert.equal(await ask(node, by(a.privateKey, 'RS256')), 'bad_token');
  assert.equal(await ask(node, by(b.privateKey, 'RS256')), 'taken');
  node.options.token_audience = 'chat';
  node.options.connect = 'token';
  const said = await node.reload();
  assert.match(said, /event=option_changed option=connect from="?anyone"? to="?token"?/);
  assert.match(said, /event=option_changed option=token_audience/);
  assert.equal(await ask(node, by(b.privateKey, 'RS256')), 'bad_token');
  assert.equal(await ask(node, token({ sub: 'ann', aud: 'chat' })), 'taken');
  fs.writeFileSync(name, 'broken');
  assert.match(await node.reload(), /event=reload_failed why="token_key_file = [^\n]*it holds no key" then="nothing was changed/);
  assert.equal(await ask(node, token({ sub: 'ann', aud: 'chat' }, { alg: 'RS256', key: b.privateKey })), 'taken');
  assert.ok(!node.log.includes(secret));
});

// ---- keys from a URL ----

const jwksOptions = (provider, more = {}) => ({ token_jwks_url: provider.url, token_jwks_pause: '300ms', token_jwks_timeout_ms: '30s', ...more });

async function provider(t, ...keys) {
  const p = await Provider.start();
  t.after(() => p.stop());
  p.keys = keys;
  return p;
}

test('keys_come_from_a_url_before_the_first_client_does_and_on_all_workers', async (t) => {
  const [a, e] = [rsa(), p256()];
  const p = await provider(t, jwk(a.publicKey, { kid: 'a' }), jwk(e.publicKey, { kid: 'e' }));
  const { nodes } = await startCluster(t, 3, { rules, options: jwksOptions(p) });
  for (const node of nodes) {
    for (let i = 0; i < 8; i++) {
      assert.equal(await ask(node, by(a.privateKey, 'RS256', 'a')), 'taken');
      assert.equal(await ask(node, by(e.privateKey, 'ES256', 'e')), 'taken');
    }
    assert.equal(await node.metric('fanmesh_jwks_keys'), 2);
    assert.match(node.log, /event=jwks_keys keys=2 added=2 removed=0/);
  }
});

test('a_key_that_is_new_at_the_url_is_fetched_when_a_token_names_it_and_one_that_is_gone_counts_no_more', async (t) => {
  const [a, b] = [rsa(), rsa()];
  const p = await provider(t, jwk(a.publicKey, { kid: 'a' }));
  const node = await startNode(t, { rules, options: jwksOptions(p) });
  assert.equal(await ask(node, by(b.privateKey, 'RS256', 'b')), 'token_key');
  p.keys = [jwk(b.publicKey, { kid: 'b' })];
  await until('the new key is there', async () => (await ask(node, by(b.privateKey, 'RS256', 'b'))) === 'taken');
  await until('on every worker', async () => (await ask(node, by(a.privateKey, 'RS256', 'a'))) === 'token_key');
  assert.match(node.log, /event=jwks_keys keys=1 added=1 removed=1/);
});

test('tokens_of_unknown_keys_do_not_make_the_node_ask_more_often_than_it_may', async (t) => {
  const p = await provider(t, jwk(rsa().publicKey, { kid: 'a' }));
  const node = await startNode(t, { rules, options: jwksOptions(p, { token_jwks_pause: '1h' }) });
  const unknown = by(rsa().privateKey, 'RS256', 'x');
  for (let i = 0; i < 50; i++) assert.equal(await ask(node, unknown), 'token_key');
  assert.equal(p.asked, 1);
});

test('while_the_url_gives_nothing_usable_the_keys_of_its_last_answer_stay', async (t) => {
  const a = rsa();
  const p = await provider(t, jwk(a.publicKey, { kid: 'a' }));
  const node = await startNode(t, { rules, options: jwksOptions(p, { token_jwks_refresh: '1s', token_jwks_timeout_ms: 3000 * patience }) });
  const mine = by(a.privateKey, 'RS256', 'a');
  await until('it has the key', async () => (await node.metric('fanmesh_jwks_keys')) === 1);
  const [before, began] = [node.log.length, Date.now()];
  const bad = {
    hangs: () => {},
    dies: (request) => request.socket.destroy(),
    garbage: (_, response) => response.end('<html>'),
    'an empty set': (_, response) => response.end('{"keys":[]}'),
    'an error': (_, response) => response.writeHead(500).end('{"keys":[]}'),
    'elsewhere': (_, response) => response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    'too much': (_, response) => response.end(`{"keys":[${'1,'.repeat(600_000)}1]}`),
    'a weak key': (_, response) => response.end(JSON.stringify({ keys: [jwk(rsa(1024).publicKey)] })),
    'a secret for all to read': (_, response) => response.end(JSON.stringify({ keys: [{ kty: 'oct', kid: 'a', k: Buffer.from(secret).toString('base64url') }] })),
    'half of it': (_, response) => {
      response.writeHead(200, { 'content-length': 1000 });
      response.write('{"keys":[');
      setTimeout(() => response.destroy(), 20);
    },
  };
  for (const [what, behave] of Object.entries(bad)) {
    const failures = await node.metric('fanmesh_jwks_failures_total');
    p.behave = behave;
    await until(`the node has noticed: ${what}`, async () => (await node.metric('fanmesh_jwks_failures_total')) > failures);
    assert.equal(await ask(node, mine), 'taken', what);
    assert.equal(await ask(node, by(secret, 'HS256', 'a')), 'token_key', what);
    assert.equal(await node.metric('fanmesh_jwks_keys'), 1);
  }
  const lines = node.log.slice(before).match(/event=jwks_failed /g).length;
  assert.ok(lines <= 1 + (Date.now() - began) / 60_000, `${lines} lines for the lot of them`); // one a minute
  p.behave = null;
  await until('it answers again', () => /event=jwks_keys .*why="it answers again"/.test(node.log.slice(before)));
});

test('a_node_whose_url_is_down_at_the_start_serves_and_takes_tokens_as_soon_as_it_is_there', async (t) => {
  const port = await freePort();
  const a = rsa();
  const node = await startNode(t, { rules, options: { token_jwks_url: `http://127.0.0.1:${port}/keys`, token_jwks_pause: '200ms', token_jwks_timeout_ms: 500 } });
  assert.equal(await ask(node, by(a.privateKey, 'RS256', 'a')), 'token_key');
  await until('the log says why', () => /event=jwks_failed .*tokens that need its keys are refused until it answers/.test(node.log));
  const p = await Provider.start(port);
  t.after(() => p.stop());
  p.keys = [jwk(a.publicKey, { kid: 'a' })];
  await until('the keys are there', async () => (await ask(node, by(a.privateKey, 'RS256', 'a'))) === 'taken');
});

test('a_server_of_keys_is_believed_only_with_a_certificate_that_is_to_be_trusted', async (t) => {
  const a = rsa();
  const { cert, key } = makeCertificate(folder, 'server');
  const p = await Provider.start(undefined, { cert: fs.readFileSync(cert), key: fs.readFileSync(key) });
  t.after(() => p.stop());
  p.keys = [jwk(a.publicKey, { kid: 'a' })];
  const node = await startNode(t, { rules, options: jwksOptions(p) });
  assert.match(node.log, /event=jwks_failed why="[^"]*certificate/);
  assert.equal(await ask(node, by(a.privateKey, 'RS256', 'a')), 'token_key');
  node.options.token_jwks_ca = cert;
  await node.restart();
  assert.equal(await ask(node, by(a.privateKey, 'RS256', 'a')), 'taken');
});

test('a_node_stops_while_its_url_hangs', async (t) => {
  const p = await provider(t, jwk(rsa().publicKey));
  const node = await Node.create({ rules, options: jwksOptions(p, { token_jwks_refresh: '1s', token_jwks_timeout_ms: 60_000, mesh_listen: 'none', mesh_ask_listen: null, drain_ms: 0 }) });
  t.after(() => node.kill());
  await node.start();
  let hanging = false;
  p.behave = () => (hanging = true);
  await until('it asks', () => hanging);
  await node.stop();
});

// ---- the command line ----

async function verify(text, options, settings) {
  const config = settings === undefined ? [] : ['--config', file(settings)];
  const args = Object.entries(options).map(([name, value]) => `--${name.replaceAll('_', '-')}=${value}`);
  const { code, out, err } = await run(['token', 'verify', ...config, ...args], { stdin: text });
  return { code, user: out && JSON.parse(out).user, err };
}

test('token_verify_asks_the_url_for_its_keys_as_a_node_does', async (t) => {
  const [a, e] = [rsa(), p256()];
  const p = await provider(t, jwk(a.publicKey, { kid: 'a' }), jwk(e.publicKey, { kid: 'e' }), { ...jwk(rsa(1024).publicKey), kid: 'weak' });
  const options = { token_jwks_url: p.url, token_jwks_timeout_ms: 60_000 };
  const good = { code: 0, user: 'ann', err: '' };
  assert.deepEqual(await verify(by(a.privateKey, 'RS256', 'a'), options), good);
  assert.deepEqual(await verify(by(e.privateKey, 'ES256', 'e'), { token_jwks_timeout_ms: 60_000 }, `token_jwks_url = ${p.url}\n[topic "x"]\njoin = token\n`), good);
  const other = await verify(by(rsa().privateKey, 'RS256', 'other'), options);
  assert.equal(other.code, 1);
  assert.match(other.err, /^fanmesh token verify: warning: of the keys at token_jwks_url 1 can't be used: [^\n]*2048 bits[^\n]*\nfanmesh token verify: token_key: [^\n]*\n$/);
  const forged = await verify(by(rsa().privateKey, 'RS256', 'a'), options);
  assert.match(forged.err, /bad_token: [^\n]*its signature is wrong\n$/);

  const { cert, key } = makeCertificate(folder, 'keys');
  const tls = await Provider.start(undefined, { cert: fs.readFileSync(cert), key: fs.readFileSync(key) });
  t.after(() => tls.stop());
  tls.keys = p.keys;
  const untrusted = await verify(by(a.privateKey, 'RS256', 'a'), { ...options, token_jwks_url: tls.url });
  assert.match(untrusted.err, /token_jwks_url = "?https:[^\n]* gives no keys: [^\n]*certificate/);
  assert.deepEqual(await verify(by(a.privateKey, 'RS256', 'a'), { ...options, token_jwks_url: tls.url, token_jwks_ca: cert }), good);
});

test('token_verify_says_why_the_url_gives_no_keys_within_its_time_limit', async (t) => {
  const a = rsa();
  const mine = by(a.privateKey, 'RS256', 'a');
  const p = await provider(t, jwk(a.publicKey, { kid: 'a' }));
  const options = { token_jwks_url: `${p.url}?key=s3cret`, token_jwks_timeout_ms: 60_000 };
  for (const [behave, why, ms] of [
    [() => {}, /(timed out|timeout)/i, 500],
    [(request) => request.socket.destroy(), /empty reply|reset|closed/i],
    [(_, response) => response.writeHead(500).end(), /it answers with status 500/],
    [(_, response) => response.end('<html>'), /it is not a JSON object with an array/],
    [(_, response) => response.end('{"keys":[]}'), /it has no key for RS256 or ES256/],
  ]) {
    p.behave = behave;
    const { code, user, err } = await verify(mine, { ...options, ...(ms && { token_jwks_timeout_ms: ms }) });
    assert.deepEqual([code, user], [1, '']);
    assert.match(err, /^fanmesh token verify: token_jwks_url = "?http:\/\/127[^\n]* gives no keys: [^\n]*\nfanmesh token verify: token_key: [^\n]*\n$/);
    assert.match(err, why);
    assert.ok(!err.includes('s3cret'), err);
  }
  const own = await verify(by(secret, 'HS256'), { ...options, token_secret_file: file(secret) });
  assert.deepEqual([own.code, own.user], [0, 'ann'], 'another key does');
  assert.match(own.err, /^fanmesh token verify: warning: token_jwks_url = [^\n]* gives no keys: [^\n]*\n$/);
  const unsafe = await verify(mine, { token_jwks_url: 'http://id.example/keys' });
  assert.equal(unsafe.code, 2);
  assert.match(unsafe.err, /^fanmesh token verify: token_jwks_url: without https:/);
});
