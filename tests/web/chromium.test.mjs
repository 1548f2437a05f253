// The package in a real browser: pages that load it with an import map or as a bundle, from a node, and follow a topic.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { noBrowser, openPage, sharedBrowser } from '../lib/browser.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { install } from '../lib/fanmesh.mjs';
import { root } from '../lib/node.mjs';
import { checkComplete, publishing } from '../lib/publishing.mjs';
import { until } from '../lib/wait.mjs';

const { buildSync } = createRequire(`${root}/tests/clients/`)('esbuild');
const browser = await sharedBrowser();

// The page keeps what it got, and its position, in its session.
const script = `
import { Fanmesh } from "fanmesh"

const query = new URLSearchParams(location.search)
const kept = JSON.parse(sessionStorage.getItem("kept") ?? "null")
window.got = kept?.got ?? []
window.gaps = []
window.loads = []
window.states = []
window.mesh = new Fanmesh(query.getAll("url"), { ordered: true, baseMs: Number(query.get("base") ?? 100), maxMs: 60000, random: query.has("base") ? () => 1 : Math.random })
mesh.on("state", (change) => states.push(change))
window.sub = mesh.subscribe("room:page", {
  from: kept?.position,
  onMessage: ({ id, payload }) => got.push({ id, n: payload.n }),
  onGap: (gap) => gaps.push(gap),
  load: async ({ reason }) => { loads.push(reason) },
})
addEventListener("pagehide", () => sessionStorage.setItem("kept", JSON.stringify({ got, position: sub.position })))
`;

function site() {
  const folder = install();
  const importMap = '{ "imports": { "phoenix": "./node_modules/phoenix/priv/static/phoenix.mjs", "fanmesh": "./node_modules/fanmesh/src/index.js" } }';
  fs.writeFileSync(path.join(folder, 'page.js'), script);
  fs.writeFileSync(path.join(folder, 'mapped.html'), `<!doctype html><script type="importmap">${importMap}</script><script type="module" src="page.js"></script>`);
  buildSync({ entryPoints: [path.join(folder, 'page.js')], outfile: path.join(folder, 'bundle.js'), bundle: true, minify: true, format: 'iife', logLevel: 'silent' });
  fs.writeFileSync(path.join(folder, 'bundled.html'), '<!doctype html><body><script src="bundle.js"></script>');
  return folder;
}

const start = (t, n) => startCluster(t, n, { options: { web_root: site(), origins: '*' } });
const address = (file, nodes, more = {}) => {
  const query = new URLSearchParams([...nodes.map(({ ws }) => ['url', ws]), ...Object.entries(more)]);
  return `http://127.0.0.1:${nodes[0].port}/${file}?${query}`;
};
const joined = (page) => until('the page has joined', () => page.evaluate(() => sub.state === 'joined'), 20_000);
const gotOf = (page) => () => page.evaluate(() => got);

for (const file of ['mapped.html', 'bundled.html']) {
  test(`${file.split('.')[0]}: a_page_follows_its_topic_over_the_death_of_its_node`, { skip: noBrowser }, async (t) => {
    const cluster = await start(t, 3);
    const { nodes } = cluster;
    const page = await openPage(t, browser, address(file, nodes));
    await joined(page);
    const movedTo = (node) => until('it has moved', () => page.evaluate((url) => mesh.url === url && sub.state === 'joined', node.ws), 20_000);
    const publisher = publishing(nodes, 'room:page');
    await until('some have come', async () => (await gotOf(page)()).length >= 10, 20_000);
    await nodes[0].kill();
    await movedTo(nodes[1]);
    await cluster.restart(nodes[0]);
    await cluster.restart(nodes[1]);
    await movedTo(nodes[2]);
    const then = publisher.n;
    await until('more have come', () => publisher.n >= then + 10, 20_000);
    await checkComplete(gotOf(page), await publisher.stop(), file);
    const states = await page.evaluate(() => window.states.filter(({ state }) => state === 'reconnecting').map(({ code }) => code));
    assert.deepEqual(states.slice(0, 2), [1006, 1012]);
    assert.deepEqual(page.problems, []);
  });
}

test('a_page_that_is_loaded_again_goes_on_where_it_was', { skip: noBrowser }, async (t) => {
  const { nodes } = await start(t, 2);
  const page = await openPage(t, browser, address('mapped.html', nodes));
  await joined(page);
  const publisher = publishing(nodes, 'room:page');
  for (let reloads = 0; reloads < 3; reloads++) {
    const then = publisher.n;
    await until('more have come', async () => (await gotOf(page)()).length > then, 20_000);
    await page.reload();
    await joined(page);
  }
  await checkComplete(gotOf(page), await publisher.stop(), 'the page');
  assert.deepEqual(await page.evaluate(() => ({ gaps, loads })), { gaps: [], loads: [] }); // it had its state
  assert.deepEqual(page.problems, []);
});

test('a_page_that_comes_back_online_does_not_sit_out_its_wait', { skip: noBrowser }, async (t) => {
  const { nodes: [node] } = await start(t, 1);
  const page = await openPage(t, browser, address('mapped.html', [node], { base: 600_000 }));
  await joined(page);
  await node.kill();
  await until('it waits', () => page.evaluate(() => mesh.state === 'reconnecting'));
  assert.equal(await page.evaluate(() => states.at(-1).delayMs), 60_000);
  await page.context().setOffline(true);
  await node.start();
  await page.context().setOffline(false);
  await joined(page);
  assert.deepEqual(await page.evaluate(() => gaps.map(({ reason }) => reason)), ['unrecovered']); // the only node has forgotten everything
  assert.deepEqual(page.problems, []);
});
