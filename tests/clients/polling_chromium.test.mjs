// LongPoll and streams of events as a browser has them: WebSockets blocked by the balancer, EventSource.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { noBrowser, openPage, sharedBrowser } from '../lib/browser.mjs';
import { Spread } from '../lib/balancer.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { clean, compare } from '../lib/ledger.mjs';
import { root, workFolder } from '../lib/node.mjs';
import { snippet } from '../lib/snippets.mjs';
import { sseUrl } from '../lib/sse.mjs';
import { until } from '../lib/wait.mjs';

const browser = await sharedBrowser();
const web = path.join(workFolder(), 'web');
fs.mkdirSync(web);
for (const [name, module] of [['phoenix-1.8', 'phoenix'], ['phoenix-1.7', 'phoenix-1.7']]) {
  fs.copyFileSync(`${root}/tests/clients/node_modules/${module}/priv/static/phoenix.mjs`, path.join(web, `${name}.mjs`));
}
fs.writeFileSync(path.join(web, 'index.html'), '<!doctype html><title>fallback</title>');

// Short, so that a session that a page gave up, as 1.7 does where an answer takes long, is soon over.
const lives = { longpoll_wait_ms: '1s', longpoll_ttl_ms: '5s' };
const start = async (t) => {
  const cluster = await startCluster(t, 3, { options: { ...Spread.options, ...lives, web_root: web, sse_retry_ms: 100, drain_ms: 500 } });
  const balancer = await Spread.start(t, cluster.nodes, { webSockets: false });
  return { nodes: cluster.nodes, balancer, page: await openPage(t, browser, `http://127.0.0.1:${balancer.port}/`) };
};

for (const version of ['phoenix-1.8', 'phoenix-1.7']) {
  test(`where_web_sockets_are_blocked_${version}_falls_back_to_LongPoll_in_chromium_and_misses_nothing_when_a_node_dies`, { skip: noBrowser }, async (t) => {
    const { nodes, page } = await start(t);
    const topic = `room:${version}`;
    await page.evaluate(async ([from, name]) => {
      const { Socket } = await import(from);
      Object.assign(window, { ids: [], replies: [] });
      const newest = new Map();
      const note = (id) => newest.set(...id.split('-'));
      const socket = new Socket('/socket', { longPollFallbackMs: 2000, reconnectAfterMs: () => 100, rejoinAfterMs: () => 100 });
      window.transport = () => socket.transport.name;
      socket.connect();
      const channel = socket.channel(name, () => ({ cursor: [...newest].map(([origin, seq]) => `${origin}-${seq}`) }));
      channel.on('msg', (payload, id) => {
        note(id);
        window.ids.push(id);
      });
      channel.join().receive('ok', (reply) => {
        newest.clear();
        reply.cursor.forEach(note);
        window.replies.push(reply);
      });
      window.push = (payload) => new Promise((resolve) => channel.push('msg', payload).receive('ok', ({ id }) => resolve(id)));
    }, [`./${version}.mjs`, topic]);
    await until('it has joined', () => page.evaluate(() => window.replies.length > 0));
    const sessions = await until('one session is left', async () => {
      const counts = await Promise.all(nodes.map((node) => node.metric('fanmesh_longpoll_sessions')));
      return counts.reduce((x, y) => x + y) === 1 && counts;
    }, 30_000);
    const owner = nodes[sessions.indexOf(1)];
    const others = nodes.filter((node) => node !== owner);
    const published = [];
    const publish = async (n) => published.push(await others[n % 2].publish({ topic, event: 'msg', payload: { n } }));
    for (let n = 0; n < 10; n++) await publish(n);
    published.push(await page.evaluate(() => window.push({ from: 'the page' })));
    await until('all are there', () => page.evaluate((n) => window.ids.length >= n, published.length));
    await owner.kill();
    for (let n = 10; n < 30; n++) await publish(n);
    await until('it has come back', () => page.evaluate(() => window.replies.length > 1), 60_000);
    await until('all are there', () => page.evaluate((n) => window.ids.length >= n, published.length));
    assert.deepEqual(compare(published, await page.evaluate(() => window.ids)), clean);
    assert.deepEqual(page.problems, []);
  });
}

test('EventSource_in_chromium_goes_on_where_it_was_when_its_node_ends_or_dies', { skip: noBrowser }, async (t) => {
  const { nodes, page } = await start(t);
  const topic = 'room:chromium';
  await page.evaluate((url) => {
    Object.assign(window, { ids: [], joins: [] });
    window.source = new EventSource(url);
    window.source.addEventListener('msg', ({ data }) => window.ids.push(JSON.parse(data).id));
    window.source.addEventListener('fm_joined', ({ data }) => window.joins.push(JSON.parse(data)));
  }, sseUrl('', topic));
  const streams = () => Promise.all(nodes.map(async (node) => (node.running ? node.metric('fanmesh_sse_streams') : 0)));
  const published = [];
  const publish = async (node) => published.push(await node.publish({ topic, event: 'msg', payload: published.length }));
  for (const end of [(node) => node.stop(20_000), (node) => node.kill()]) {
    const found = await until('it has joined', async () => {
      const counts = await streams();
      return counts.includes(1) && counts;
    }, 20_000);
    const owner = nodes[found.indexOf(1)];
    const staying = nodes.filter((node) => node !== owner && node.running);
    for (let n = 0; n < 10; n++) await publish(staying[n % staying.length]);
    const ended = end(owner);
    for (let n = 0; n < 10; n++) await publish(staying[n % staying.length]);
    await ended;
    await until('all are there', () => page.evaluate((n) => window.ids.length >= n, published.length), 30_000);
  }
  assert.deepEqual(compare(published, await page.evaluate(() => window.ids)), clean);
  assert.ok(await page.evaluate(() => window.joins.length >= 3 && window.joins.every(({ recovered }) => recovered)));
});

test('the_page_of_the_guide_reads_a_stream', { skip: noBrowser }, async (t) => {
  const { nodes, page } = await start(t);
  const said = [];
  page.on('console', (message) => message.type() === 'log' && said.push(message.text()));
  await page.addScriptTag({ type: 'module', content: snippet('docs/guide.md', 'Without WebSockets', 'js') });
  const subscriptions = () => Promise.all(nodes.map((node) => node.metric('fanmesh_subscriptions')));
  await until('it has joined both topics', async () => (await subscriptions()).includes(2));
  await nodes[0].publish({ topic: 'room:lobby', event: 'msg', payload: 'one' });
  await nodes[1].publish({ topic: 'room:news', event: 'msg', payload: 'two' });
  await until('both', () => said.length === 2);
  assert.deepEqual(said.toSorted(), ['one', 'two']);
  assert.deepEqual(page.problems, []);
});
