// The package in a real browser behind HAProxy that takes no WebSockets: pages go on by LongPoll, remember it, and miss nothing.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { noBrowser, openPage, sharedBrowser } from '../lib/browser.mjs';
import { Spread } from '../lib/balancer.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { install } from '../lib/fanmesh.mjs';
import { checkComplete, publishing } from '../lib/publishing.mjs';
import { until } from '../lib/wait.mjs';

const browser = await sharedBrowser();
const script = `
import { Fanmesh } from "fanmesh"

Object.assign(window, { got: [], gaps: [], states: [], joins: [] })
window.mesh = new Fanmesh("/socket", { baseMs: 100, fallbackMs: 60000 })
mesh.on("state", (change) => states.push(change))
window.sub = mesh.subscribe("room:page", {
  onMessage: ({ id, payload }) => got.push({ id, n: payload.n }),
  onGap: (gap) => gaps.push(gap),
  onJoined: (joined) => joins.push(joined),
})
`;

function site(phoenix) {
  const folder = install(phoenix);
  const importMap = '{ "imports": { "phoenix": "./node_modules/phoenix/priv/static/phoenix.mjs", "fanmesh": "./node_modules/fanmesh/src/index.js" } }';
  fs.writeFileSync(path.join(folder, 'page.js'), script);
  fs.writeFileSync(path.join(folder, 'index.html'), `<!doctype html><script type="importmap">${importMap}</script><script type="module" src="page.js"></script>`);
  return folder;
}

for (const phoenix of ['phoenix', 'phoenix-1.7']) {
  test(`with ${phoenix}: a_page_falls_back_to_LongPoll_remembers_it_and_misses_nothing_when_its_node_is_killed`, { skip: noBrowser }, async (t) => {
    const { nodes } = await startCluster(t, 3, { options: { ...Spread.options, web_root: site(phoenix), longpoll_wait_ms: '1s', longpoll_ttl_ms: '5s' } });
    const balancer = await Spread.start(t, nodes, { webSockets: false });
    const page = await openPage(t, browser, `http://127.0.0.1:${balancer.port}/`);
    const joined = () => until('the page has joined', () => page.evaluate(() => sub.state === 'joined'), 20_000);
    await joined();
    assert.deepEqual(await page.evaluate(() => ({ transport: mesh.transport, fallbacks: mesh.counters.fallbacks })), { transport: 'longpoll', fallbacks: 1 });
    // The page that comes next in this session does not try what failed.
    await page.reload();
    await joined();
    assert.ok(await page.evaluate(() => states.every(({ transport }) => transport === 'longpoll') && mesh.counters.fallbacks === 0));
    const publisher = publishing(nodes, 'room:page');
    await until('some have come', () => page.evaluate(() => got.length >= 10), 20_000);
    let subscriptions;
    await until('the session of the page before is over', async () => {
      subscriptions = await Promise.all(nodes.map((node) => node.metric('fanmesh_subscriptions')));
      return subscriptions.reduce((x, y) => x + y) === 1;
    }, 20_000);
    const joins = await page.evaluate(() => window.joins.length);
    await nodes[subscriptions.indexOf(1)].kill();
    await until('it had to come back', () => page.evaluate((n) => window.joins.length > n, joins), 60_000);
    const then = publisher.n;
    await until('more have come', () => publisher.n >= then + 20, 20_000);
    await checkComplete(() => page.evaluate(() => got), await publisher.stop(), 'the page');
    assert.deepEqual(await page.evaluate(() => gaps), []);
    assert.deepEqual(page.problems, []);
  });
}
