// Supabase's stock clients in a real browser: a bundle of each, served by one node and connected to another, over the death of that one.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { noBrowser, openPage, sharedBrowser } from '../lib/browser.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { root, workFolder } from '../lib/node.mjs';
import { realtimeRules as rules } from '../lib/realtime.mjs';
import { Relay } from '../lib/relay.mjs';
import { until } from '../lib/wait.mjs';

const { buildSync } = createRequire(`${root}/tests/clients/`)('esbuild');
const browser = await sharedBrowser();
const realtime = 'new RealtimeClient(`ws://${host}/realtime/v1`, { params: { apikey: "anon" }, ...realtime })';
const supabase = 'createClient(`http://${host}`, "anon", { realtime })';
const versions = {
  'realtime-js-2.119': { library: '@supabase/realtime-js', make: realtime, binary: true },
  'realtime-js-2.15': { library: 'realtime-js-2.15', make: realtime },
  'supabase-js-2.119': { library: '@supabase/supabase-js', make: supabase, binary: true },
  'supabase-js-2.57': { library: 'supabase-js-2.57', make: supabase },
};

const script = ({ library, make, binary }) => `
import { ${make.match(/\w+(?=\()/)[0]} } from "${library}"

const since = Date.now()
const host = new URLSearchParams(location.search).get("host")
const realtime = { reconnectAfterMs: () => ${binary ? 100 : 2000} } // see tests/lib/realtime.mjs
window.got = []
window.states = []
window.changes = []
window.client = ${make}
window.channel = client.channel("page", { config: { private: true, broadcast: { self: true, ack: true, replay: { since, limit: 1000 } }, presence: { key: "me" } } })
channel.on("broadcast", { event: "*" }, ({ event, payload, meta }) =>
  got.push({ event, id: meta.id, payload: payload instanceof ArrayBuffer ? [...new Uint8Array(payload)] : payload }))
channel.on("postgres_changes", { event: "*", schema: "public", table: "t", filter: "n=gt.1" }, (change) => changes.push(change.new))
channel.on("presence", { event: "sync" }, () => {})
channel.subscribe((state) => states.push(state))
window.send = (event, payload) => channel.send({ type: "broadcast", event, payload })
`;

function site() {
  const folder = workFolder();
  for (const [version, client] of Object.entries(versions)) {
    const options = { resolveDir: path.join(root, 'tests/clients'), sourcefile: `${version}.js` };
    buildSync({ stdin: { contents: script(client), ...options }, outfile: path.join(folder, `${version}.js`), bundle: true, platform: 'browser', format: 'iife', logLevel: 'silent' });
    fs.writeFileSync(path.join(folder, `${version}.html`), `<!doctype html><script src="${version}.js"></script>`);
  }
  return folder;
}

for (const [version, { binary }] of Object.entries(versions)) {
  test(`${version}_in_chromium_broadcasts_over_socket_and_http_and_is_back_after_its_node_was_killed`, { skip: noBrowser }, async (t) => {
    const { nodes } = await startCluster(t, 3, { rules, options: { web_root: site(), origins: '*' } });
    let target = nodes[1];
    const relay = await Relay.open(t, () => target.port);
    const page = await openPage(t, browser, `http://127.0.0.1:${nodes[0].port}/${version}.html?host=127.0.0.1:${relay.port}`);
    const subscribed = (n) => until('it has subscribed', () => page.evaluate((wanted) => states.filter((state) => state === 'SUBSCRIBED').length === wanted, n), 20_000);
    const events = () => page.evaluate(() => got.map(({ event }) => event));
    await subscribed(1);
    assert.equal(await page.evaluate(() => send('json', { text: 'für 🎉' })), 'ok');
    await until('it hears itself', async () => (await events()).includes('json'));
    if (binary) {
      assert.equal(await page.evaluate(() => send('bytes', Uint8Array.of(0, 255).buffer)), 'ok');
      assert.deepEqual(await page.evaluate(() => channel.httpSend('http', { n: 1 })), { success: true });
      assert.deepEqual(await page.evaluate(() => channel.httpSend('http bytes', Uint8Array.of(1, 2))), { success: true });
      await until('all are there', async () => (await events()).length === 4);
      const got = await page.evaluate(() => Object.fromEntries(window.got.map(({ event, payload }) => [event, payload])));
      assert.deepEqual(got, { json: { text: 'für 🎉' }, bytes: [0, 255], http: { n: 1 }, 'http bytes': [1, 2] });
    } else {
      assert.equal(await page.evaluate(() => client.channel('other').send({ type: 'broadcast', event: 'http', payload: { n: 1 } })), 'ok');
    }
    const present = () => page.evaluate(() => channel.presenceState().me?.[0].mood);
    assert.equal(await page.evaluate(() => channel.track({ mood: 'well' })), 'ok');
    await until('it sees itself', async () => (await present()) === 'well');
    const change = (n) => ({ schema: 'public', table: 't', type: 'INSERT', record: { n } });
    for (let n = 0; n < 4; n++) await nodes[2].publish({ topic: 'realtime:page', event: 'postgres_changes', payload: change(n) });
    await until('the changes are there', () => page.evaluate(() => changes.length === 2));
    assert.deepEqual(await page.evaluate(() => changes), [{ n: 2 }, { n: 3 }]);
    await nodes[1].kill();
    const ids = [];
    for (let n = 0; n < 10; n++) ids.push(await nodes[0].publish({ topic: 'realtime:page', event: 'missed', payload: { n } }));
    target = nodes[2];
    await subscribed(2);
    ids.push(await nodes[0].publish({ topic: 'realtime:page', event: 'live', payload: {} }));
    await until('it has what it missed and what is new', () => page.evaluate((wanted) => wanted.every((id) => got.some((one) => one.id === id)), ids));
    assert.equal(await page.evaluate(() => client.removeChannel(channel)), 'ok');
    await until('the nodes know', async () => (await nodes[0].request('GET', '/api/topics/realtime%3Apage/subscribers?limit=0')).body.count === 0);
    assert.deepEqual(page.problems, []);
  });
}
