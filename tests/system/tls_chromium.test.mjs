// TLS as a browser sees it: https and wss by name, and a reload while pages are open.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { noBrowser, openPage, sharedBrowser } from '../lib/browser.mjs';
import { keyHash, makeCertificate } from '../lib/certificate.mjs';
import { startNode } from '../lib/cluster.mjs';
import { root, workFolder } from '../lib/node.mjs';
import { until } from '../lib/wait.mjs';

const folder = workFolder();
const certificates = [makeCertificate(folder, 'first', ['first.example']), makeCertificate(folder, 'wild', ['*.apps.example'])];
const later = makeCertificate(folder, 'later', ['later.example', '*.apps.example']);
const browser = await sharedBrowser([
  `--ignore-certificate-errors-spki-list=${[...certificates, later].map(({ cert }) => keyHash(cert)).join(',')}`,
  '--host-resolver-rules=MAP *.example 127.0.0.1',
]);

const web = path.join(folder, 'web');
fs.mkdirSync(web);
fs.copyFileSync(`${root}/tests/clients/node_modules/phoenix/priv/static/phoenix.mjs`, path.join(web, 'phoenix.mjs'));
fs.writeFileSync(
  path.join(web, 'index.html'),
  `<!doctype html><title>TLS</title><script type="module">
    import { Socket } from './phoenix.mjs';
    window.got = [];
    window.closes = 0;
    const socket = new Socket('wss://' + location.host + '/socket');
    socket.onClose(() => window.closes++);
    socket.connect();
    const channel = socket.channel('room:browser');
    channel.on('msg', (payload) => window.got.push(payload));
    channel.join().receive('ok', () => (window.joined = true));
  </script>`,
);

const listed = (files) => ({ tls_cert: files.map(({ cert }) => cert).join(','), tls_key: files.map(({ key }) => key).join(',') });

// A page of that host that has joined; what its certificate is for.
async function visit(t, node, host) {
  const page = await openPage(t, browser, 'about:blank');
  const response = await page.goto(`https://${host}:${node.port}/`);
  await until('it has joined', () => page.evaluate(() => window.joined));
  return { page, secure: await response.securityDetails() };
}

test('chromium_gets_the_certificate_of_each_name_and_notices_nothing_of_a_reload', { skip: noBrowser }, async (t) => {
  const node = await startNode(t, { options: { web_root: web, ...listed(certificates) } });
  const pages = [await visit(t, node, 'chat.apps.example'), await visit(t, node, 'first.example')];
  assert.deepEqual(pages.map(({ secure }) => secure.subjectName), ['*.apps.example', 'first.example']);
  assert.equal(pages[0].secure.protocol, 'TLS 1.3');

  const sent = [];
  const publish = async () => {
    sent.push(sent.length);
    await node.publish({ topic: 'room:browser', event: 'msg', payload: sent.length - 1 });
  };
  for (let i = 0; i < 10; i++) await publish();
  Object.assign(node.options, listed([certificates[0], later]));
  const reloading = node.reload();
  for (let i = 0; i < 20; i++) await publish();
  assert.match(await reloading, /event=reloaded changes=2 /);
  const fresh = await visit(t, node, 'shop.apps.example');
  assert.equal(fresh.secure.subjectName, 'later.example');
  await publish();
  await until('the new page hears it', async () => (await fresh.page.evaluate(() => window.got.length)) === 1);
  for (const { page } of pages) {
    await until('the old ones have all', async () => (await page.evaluate(() => window.got.length)) === sent.length);
    assert.deepEqual(await page.evaluate(() => window.got), sent);
    assert.equal(await page.evaluate(() => window.closes), 0);
    assert.deepEqual(page.problems, []);
  }
});
