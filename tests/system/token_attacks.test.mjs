// Tokens that must not be taken, as attackers make them, against a node that knows one key of each kind.
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { sharedCluster } from '../lib/cluster.mjs';
import { workFolder } from '../lib/node.mjs';
import { WebSocket } from '../lib/phoenix.mjs';
import { attempt, jwk, p256, part, pem, rsa, seconds, secret, signed, token } from '../lib/tokens.mjs';

const keys = { rsa: rsa(), other: rsa(), ec: p256(), otherEc: p256() };
const folder = workFolder();
const file = path.join(folder, 'keys.json');
fs.writeFileSync(file, JSON.stringify({ keys: [jwk(keys.rsa.publicKey, { kid: 'r1' }), jwk(keys.ec.publicKey, { kid: 'e1', alg: 'ES256' })] }));

const cluster = await sharedCluster(1, {
  options: { token_secret: secret, token_key_file: file, token_issuer: 'https://id.example', token_audience: 'chat', connect: 'token', message_max: '64KiB' },
});
const [node] = cluster.nodes;

const good = (more = {}) => ({ iss: 'https://id.example', aud: 'chat', sub: 'ann', iat: seconds(), exp: seconds(600), ...more });
const secretToken = (claims = {}, header = {}) => signed({ alg: 'HS256', typ: 'JWT', ...header }, good(claims), secret);
const rsaToken = (claims = {}, header = {}, key = keys.rsa.privateKey) => signed({ alg: 'RS256', kid: 'r1', ...header }, good(claims), key);
const ecToken = (claims = {}, header = {}, key = keys.ec.privateKey) => signed({ alg: 'ES256', kid: 'e1', ...header }, good(claims), key);

async function ask(text, options) {
  const result = await attempt(WebSocket, `${node.ws}/websocket?vsn=2.0.0&token=${encodeURIComponent(text)}`, options);
  result.socket?.terminate();
  return result;
}

async function refused(what, text, code, why) {
  const answer = await ask(text);
  assert.equal(answer.status, 403, `${what}: ${JSON.stringify(answer)}`);
  assert.equal(answer.code, code, `${what}: ${JSON.stringify(answer)}`);
  assert.match(answer.message, why, what);
}

test('tokens_of_all_three_algorithms_are_taken', async () => {
  for (const text of [secretToken(), rsaToken(), ecToken(), rsaToken({}, { kid: undefined }), ecToken({}, { kid: undefined })]) {
    assert.equal((await ask(text)).status, 101);
  }
});

test('without_a_token_nobody_connects_where_one_is_needed', async () => {
  const answer = await attempt(WebSocket, `${node.ws}/websocket?vsn=2.0.0`);
  assert.deepEqual([answer.status, answer.code], [403, 'token_missing']);
});

test('alg_none_in_every_spelling_is_refused', async () => {
  for (const alg of ['none', 'None', 'NONE', 'nOnE', '']) {
    const input = `${part({ alg, typ: 'JWT' })}.${part(good())}`;
    await refused(alg, `${input}.`, 'bad_token', /three parts/);
    await refused(alg, `${input}.c2ln`, 'bad_token', /algorithm/);
  }
});

test('a_public_key_is_no_secret', async () => {
  // The oldest trick: the verifier's public key, which everyone has, taken for the secret of HS256.
  const { publicKey } = keys.rsa;
  const forms = [pem(publicKey), pem(publicKey).trim(), publicKey.export({ type: 'spki', format: 'der' }), publicKey.export({ type: 'pkcs1', format: 'pem' }), JSON.stringify(jwk(publicKey))];
  for (const form of forms) {
    await refused('HS256 with the RSA key', signed({ alg: 'HS256', kid: 'r1' }, good(), form), 'bad_token', /signature/);
    await refused('HS256 with the RSA key', signed({ alg: 'HS256' }, good(), form), 'bad_token', /signature/);
  }
});

test('a_key_is_never_used_for_another_algorithm', async () => {
  await refused('RS256 header, EC signature', signed({ alg: 'RS256', kid: 'e1' }, good(), keys.ec.privateKey, 'ES256'), 'token_key', /no key/);
  await refused('ES256 header, RSA key', signed({ alg: 'ES256', kid: 'r1' }, good(), keys.rsa.privateKey, 'RS256'), 'token_key', /no key/);
  await refused('HS512', signed({ alg: 'HS512' }, good(), secret), 'bad_token', /algorithm/);
});

test('a_signature_of_another_key_is_refused_whatever_the_kid_says', async () => {
  await refused('another RSA key', rsaToken({}, {}, keys.other.privateKey), 'bad_token', /signature/);
  await refused('another EC key', ecToken({}, {}, keys.otherEc.privateKey), 'bad_token', /signature/);
  await refused('another secret', signed({ alg: 'HS256' }, good(), `${secret}.`), 'bad_token', /signature/);
  for (const kid of ['x', '../../../../dev/null', '/dev/null', "' OR 1=1 --", 'r1\u0000', 'R1', 'https://evil.example/keys']) {
    await refused(kid, rsaToken({}, { kid }), 'token_key', /no key/);
  }
  for (const kid of ['', 1, ['r1'], { r1: 1 }, 'x'.repeat(257)]) await refused(JSON.stringify(kid), rsaToken({}, { kid }), 'bad_token', /kid/);
});

test('a_header_that_brings_its_own_key_or_says_where_one_is_convinces_nobody', async () => {
  const own = keys.other;
  const headers = [
    { jwk: jwk(own.publicKey) },
    { jku: 'https://evil.example/keys', kid: 'r1' },
    { x5u: 'https://evil.example/cert', x5c: ['MIIB'] },
  ];
  for (const header of headers) await refused(JSON.stringify(header), rsaToken({}, header, own.privateKey), 'bad_token', /signature/);
});

test('critical_headers_and_other_types_are_refused', async () => {
  await refused('crit', secretToken({}, { crit: ['exp'] }), 'bad_token', /critical/);
  await refused('b64', secretToken({}, { crit: ['b64'], b64: false }), 'bad_token', /critical/);
  await refused('typ', secretToken({}, { typ: 'logout+jwt' }), 'bad_token', /type/);
});

test('names_that_are_there_twice_are_refused', async () => {
  const header = '{"alg":"HS256","alg":"none"}';
  await refused('header', signed(header, JSON.stringify(good()), secret, 'HS256'), 'bad_token', /header/);
  const claims = JSON.stringify(good()).replace('{', '{"sub":"root",');
  await refused('claims', signed({ alg: 'HS256' }, claims, secret), 'bad_token', /claims/);
});

test('times_issuer_and_audience_are_looked_at', async () => {
  await refused('expired', secretToken({ exp: seconds(-6) }), 'token_expired', /exp/);
  await refused('not yet', secretToken({ nbf: seconds(60) }), 'bad_token', /nbf/);
  await refused('from the future', secretToken({ iat: seconds(60), exp: seconds(120) }), 'bad_token', /iat/);
  await refused('for ever', secretToken({ exp: undefined }), 'bad_token', /exp/);
  await refused('too long', secretToken({ exp: seconds(31 * 86400) }), 'bad_token', /token_lifetime_max/);
  await refused('a text', secretToken({ exp: String(seconds(60)) }), 'bad_token', /exp/);
  await refused('iss', secretToken({ iss: 'https://evil.example' }), 'bad_token', /iss/);
  await refused('no iss', secretToken({ iss: undefined }), 'bad_token', /iss/);
  await refused('aud', secretToken({ aud: 'other' }), 'bad_token', /aud/);
  await refused('aud list', secretToken({ aud: ['other', 'chats'] }), 'bad_token', /aud/);
  await refused('no aud', secretToken({ aud: undefined }), 'bad_token', /aud/);
  assert.equal((await ask(secretToken({ aud: ['other', 'chat'] }))).status, 101);
});

test('a_token_has_one_spelling', async () => {
  const text = secretToken();
  const [header, claims, signature] = text.split('.');
  for (const other of [`${header}=.${claims}.${signature}`, `${header}.${claims}.${signature}=`, `${text}.`, `.${text}`, ` ${text}`, `${text}\n`, `${header}.${claims}.${signature}AA.${signature}`]) {
    await refused(JSON.stringify(other.length), other, 'bad_token', /base64url|three parts/);
  }
  // The last character of 32 bytes has two bits that mean nothing: only one of four spellings is taken.
  const digits = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const last = digits.indexOf(signature.at(-1));
  for (let i = 1; i < 4; i++) await refused('stray bits', `${header}.${claims}.${signature.slice(0, -1)}${digits[last ^ i]}`, 'bad_token', /base64url/);
  for (let i = 0; i < signature.length - 1; i += 7) {
    const bent = `${signature.slice(0, i)}${signature[i] === 'A' ? 'B' : 'A'}${signature.slice(i + 1)}`;
    await refused('a bent signature', `${header}.${claims}.${bent}`, 'bad_token', /signature/);
  }
});

test('an_ecdsa_signature_is_r_and_s_and_nothing_else', async () => {
  const text = ecToken();
  const input = text.slice(0, text.lastIndexOf('.'));
  const der = crypto.sign('sha256', Buffer.from(input), { key: keys.ec.privateKey, dsaEncoding: 'der' });
  const raw = Buffer.from(text.slice(text.lastIndexOf('.') + 1), 'base64url');
  const zero = Buffer.alloc(32);
  const order = Buffer.from('ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551', 'hex');
  const forms = {
    DER: der,
    zeros: Buffer.concat([zero, zero]), // CVE-2022-21449
    'r zero': Buffer.concat([zero, raw.subarray(32)]),
    's zero': Buffer.concat([raw.subarray(0, 32), zero]),
    'r is the order': Buffer.concat([order, raw.subarray(32)]),
    's is the order': Buffer.concat([raw.subarray(0, 32), order]),
    'a byte short': raw.subarray(0, 63),
    'a byte more': Buffer.concat([raw, Buffer.from([0])]),
    swapped: Buffer.concat([raw.subarray(32), raw.subarray(0, 32)]),
  };
  for (const [what, signature] of Object.entries(forms)) await refused(what, `${input}.${signature.toString('base64url')}`, 'bad_token', /signature/);
  assert.equal((await ask(text)).status, 101);
});

test('an_rsa_signature_has_the_length_of_its_key', async () => {
  const text = rsaToken();
  const input = text.slice(0, text.lastIndexOf('.'));
  const raw = Buffer.from(text.slice(text.lastIndexOf('.') + 1), 'base64url');
  for (const signature of [raw.subarray(1), Buffer.concat([Buffer.from([0]), raw]), Buffer.alloc(256), Buffer.alloc(256, 255), Buffer.alloc(1), Buffer.alloc(1025)]) {
    await refused('length', `${input}.${signature.toString('base64url')}`, 'bad_token', /signature/);
  }
  const pss = crypto.sign('sha256', Buffer.from(input), { key: keys.rsa.privateKey, padding: crypto.constants.RSA_PKCS1_PSS_PADDING });
  await refused('PSS', `${input}.${pss.toString('base64url')}`, 'bad_token', /signature/);
});

test('huge_tokens_are_refused_before_they_are_read', async () => {
  await refused('8 KiB', `${secretToken()}.${'A'.repeat(8192)}`, 'bad_token', /longer than 8192/);
  const answer = await ask(`a.b.${'A'.repeat(20_000)}`);
  assert.equal(answer.status, 431);
  await refused('many claims', signed({ alg: 'HS256' }, JSON.stringify({ ...good(), ...Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`c${i}`, 1])) }), secret), 'bad_token', /claims/);
});

test('of_two_tokens_the_one_that_is_given_counts_and_a_bad_one_is_not_passed_over', async () => {
  const bad = await ask(secretToken(), { headers: { authorization: 'Bearer a.b.c' } });
  assert.equal(bad.code, 'bad_token');
  const fine = await ask('a.b.c', { headers: { authorization: `Bearer ${secretToken()}` } });
  assert.equal(fine.status, 101);
});

test('no_refusal_or_log_line_holds_any_of_a_token', async () => {
  node.options.log_level = 'debug';
  await node.restart();
  const tokens = [secretToken(), rsaToken(), ecToken(), secretToken({ exp: 1 }), rsaToken({}, {}, keys.other.privateKey)];
  for (const text of tokens) {
    for (const how of [
      { query: `&token=${text}` },
      { headers: { authorization: `Bearer ${text}` } },
      { headers: { 'x-phoenix-authtoken': text } },
      { protocols: ['phoenix', `base64url.bearer.phx.${Buffer.from(text).toString('base64url')}`] },
    ]) {
      const answer = await attempt(WebSocket, `${node.ws}/websocket?vsn=2.0.0${how.query ?? ''}`, { headers: how.headers, protocols: how.protocols });
      answer.socket?.terminate();
      const said = JSON.stringify({ status: answer.status, code: answer.code, message: answer.message });
      for (const piece of text.split('.')) assert.ok(!said.includes(piece.slice(0, 16)), said);
    }
  }
  const seen = node.log + (await node.request('GET', '/metrics')).text;
  for (const text of tokens) {
    for (const piece of text.split('.')) assert.ok(!seen.includes(piece.slice(0, 24)) && !seen.includes(Buffer.from(piece).toString('base64url').slice(0, 24)));
  }
  assert.ok(!seen.includes(secret) && !seen.includes(keys.rsa.publicKey.export({ format: 'jwk' }).n.slice(0, 32)));
});
