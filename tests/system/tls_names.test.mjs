// Several certificates on one listener: which one a client gets is decided by the name that it asks for.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { test } from 'node:test';
import { makeCertificate } from '../lib/certificate.mjs';
import { sharedCluster } from '../lib/cluster.mjs';
import { binary, workFolder } from '../lib/node.mjs';
import { until } from '../lib/wait.mjs';
import { wsChannel } from '../lib/ws_channel.mjs';

const folder = workFolder();
const certificates = [
  makeCertificate(folder, 'first', ['first.example']),
  makeCertificate(folder, 'wild', ['*.apps.example', 'apps.example']),
  makeCertificate(folder, 'exact', ['shop.apps.example']),
  makeCertificate(folder, 'local', ['localhost']),
];
const { nodes: [node] } = await sharedCluster(1, {
  options: { tls_cert: certificates.map(({ cert }) => cert).join(', '), tls_key: certificates.map(({ key }) => key).join(', ') },
});

// What openssl s_client prints of a connection.
async function shake(...args) {
  const child = spawn('openssl', ['s_client', '-connect', `127.0.0.1:${node.port}`, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes) => (text += bytes));
  await new Promise((resolve) => child.once('close', resolve));
  return text;
}
const given = async (...args) => (await shake(...args)).match(/^subject=CN = (.*)$/m)?.[1];

test('the_name_that_is_asked_for_decides_exact_ones_before_wildcards_and_the_first_is_for_all_others', async () => {
  for (const version of ['-tls1_2', '-tls1_3']) {
    const of = (name) => given(version, '-servername', name);
    assert.equal(await of('first.example'), 'first.example');
    assert.equal(await of('chat.apps.example'), '*.apps.example');
    assert.equal(await of('CHAT.Apps.Example'), '*.apps.example');
    assert.equal(await of('apps.example'), '*.apps.example');
    assert.equal(await of('shop.apps.example'), 'shop.apps.example');
    assert.equal(await of('a.b.apps.example'), 'first.example', 'a wildcard stands for one label');
    assert.equal(await of('elsewhere.example'), 'first.example');
    assert.equal(await given(version, '-noservername'), 'first.example');
  }
});

test('openssl_verifies_each_certificate_by_its_name', async () => {
  const [, wild, exact] = certificates;
  const verify = async ({ cert }, name) => /Verify return code: 0 \(ok\)/.test(await shake('-servername', name, '-verify_hostname', name, '-CAfile', cert));
  assert.ok(await verify(wild, 'chat.apps.example'));
  assert.ok(await verify(exact, 'shop.apps.example'));
  assert.ok(!(await verify(exact, 'elsewhere.example')));
});

test('versions_before_1_2_are_refused_whatever_the_name', async () => {
  for (const name of ['first.example', 'shop.apps.example']) {
    assert.match(await shake('-tls1_1', '-cipher', 'DEFAULT:@SECLEVEL=0', '-servername', name), /alert protocol version|no protocols available/);
    assert.match(await shake('-tls1_2', '-servername', name), /Protocol *: TLSv1\.2/);
    assert.match(await shake('-tls1_3', '-servername', name), /TLSv1\.3/);
  }
});

test('a_session_of_any_name_is_resumed', async () => {
  for (const name of ['first.example', 'shop.apps.example']) {
    const file = `${folder}/session`;
    await shake('-tls1_2', '-servername', name, '-sess_out', file);
    assert.match(await shake('-tls1_2', '-servername', name, '-sess_in', file), /^Reused, /m);
  }
});

test('a_client_of_a_name_that_is_not_the_first_gets_its_messages', async () => {
  const opened = [];
  const socket = await wsChannel(opened, `wss://localhost:${node.port}/socket/websocket?vsn=2.0.0`, 'room:names', { ca: fs.readFileSync(certificates[3].cert) });
  socket.say('shout', { n: 1 });
  await until('it is there', () => socket.got.length === 1);
  socket.terminate();
});

test('the_log_says_which_certificates_there_are', () => {
  assert.equal(node.logged('certificate_added'), certificates.length);
  assert.match(node.log, /event=certificate_added file="[^"]*wild\.cert\.pem" names="\*\.apps\.example,apps\.example" until=20\d\d-\d\d-\d\dT/);
});

test('certificates_and_keys_come_in_pairs', () => {
  const [a, b] = certificates;
  const check = (...args) => spawnSync(binary, ['check-config', '--dev', ...args], { encoding: 'utf8' }).stderr;
  const pair = ['--tls-cert', a.cert, '--tls-key', a.key];
  assert.match(check(...pair, '--tls-cert', b.cert), /tls_key: there is no key for the certificate .*wild\.cert\.pem; give tls_key once for each tls_cert/);
  assert.match(check(...pair, '--tls-key', b.key), /tls_cert: there is no certificate for the key .*wild\.key\.pem/);
  assert.equal(check(...pair, '--tls-cert', b.cert, '--tls-key', b.key), '');
});
