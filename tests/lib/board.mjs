// The order board of web/demo, served by a cluster of --dev nodes as script/server does it, and what a page of it shows.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { openPage } from './browser.mjs';
import { startCluster } from './cluster.mjs';
import { root, workFolder } from './node.mjs';
import { until } from './wait.mjs';

export const topic = 'room:orders';
export const site = (node) => `http://127.0.0.1:${node.port}`;

// order: of the nodes in the page's list, by their place in the cluster. A page goes from its own node to the next.
export async function startBoard(t, { order = [0, 1, 2], rules = {} } = {}) {
  const web = path.join(workFolder(), 'web');
  fs.mkdirSync(web);
  const cluster = await startCluster(t, order.length, { rules, options: { api_key_file: null, dev: true, dev_api: true, web_root: web } });
  const listed = order.map((i) => `${cluster.nodes[i].name}=${site(cluster.nodes[i])}`);
  execFileSync(path.join(root, 'script/web'), [web, ...listed]);
  return cluster.nodes;
}

// Records on the given places, numbered for the page's tally.
export class Orders {
  published = new Map(); // place -> id
  #n = 0;

  // On the node, one for each place; returns their ids.
  async publish(node, places) {
    const ids = [];
    for (const place of places) {
      const payload = {
        place, rev: 1, order: `T-${place}`, customer: 'Test & Co', item: 'Lamp', quantity: 2, total: 4200, status: 'placed',
        feed: { run: 'test', n: ++this.#n }, sent: Date.now(),
      };
      const id = await node.publish({ topic, event: 'order', payload, key: `test-${this.#n}` });
      this.published.set(place, id);
      ids.push(id);
    }
    return ids;
  }

  get count() {
    return this.#n;
  }
}

export const span = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => from + i);

export async function openBoard(t, browser, node, options) {
  const page = await openPage(t, browser, site(node), options);
  await isOn(page, node);
  return page;
}

export const state = (page) => page.evaluate(() => ({ ...document.body.dataset }));

// The page is connected to the node.
export function isOn(page, node, limitMs = 20_000) {
  return until(`the page is on ${node.name}`, async () => {
    const now = await state(page);
    return now.state === 'open' && now.node === node.name;
  }, limitMs);
}

// place -> id of the message that the row shows.
export async function rows(page) {
  const list = await page.$$eval('#rows tr:not(.ghost)', (found) => found.map((row) => [Number(row.dataset.place), row.dataset.id]));
  return new Map(list);
}

export function showsAll(page, published, limitMs = 20_000) {
  return until(`the page shows all ${published.size} orders`, async () => {
    const shown = await rows(page);
    return [...published].every(([place, id]) => shown.get(place) === id);
  }, limitMs);
}

export const logLines = (page, kind) => page.$$eval(`#log ${kind ? `.${kind}` : 'li'} span`, (found) => found.map((line) => line.textContent));

export const tally = (page) =>
  page.$$eval('.tally dd', (found) => Object.fromEntries(found.map((figure) => [figure.id, Number(figure.textContent.replaceAll(',', ''))])));
