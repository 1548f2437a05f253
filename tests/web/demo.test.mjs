// The order board in a real browser, on a real cluster.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Orders, tally, isOn, logLines, openBoard, rows, showsAll, site, span, startBoard, state } from '../lib/board.mjs';
import { noBrowser, sharedBrowser } from '../lib/browser.mjs';
import { until } from '../lib/wait.mjs';

const browser = await sharedBrowser();
const small = { 'room:orders': { join: 'anyone', push: 'anyone', history_count: 20 } };

// How far things have moved by themselves since the page was loaded; below 0.1 is what browsers' makers call good.
const layoutShift = (page) =>
  page.evaluate(() => new Promise((resolve) => {
    const sum = (list) => list.getEntries().reduce((all, { value }) => all + value, 0);
    new PerformanceObserver((list) => resolve(sum(list))).observe({ type: 'layout-shift', buffered: true });
    setTimeout(() => resolve(0), 1000);
  }));

// So that the page is seen empty first, as over a slow network.
const paintBeforeTheNodesAreKnown = (page) =>
  page.route('**/nodes.json', async (route) => {
    await until('the first paint', () => page.evaluate(() => performance.getEntriesByType('paint').length > 0));
    await route.continue();
  });

describe('the order board', { skip: noBrowser }, () => {
  test('a_row_published_on_a_is_read_on_c_and_survives_on_b_when_c_is_killed_with_nothing_missing', async (t) => {
    const [a, b, c] = await startBoard(t, { order: [2, 1, 0] });
    const orders = new Orders();
    const page = await openBoard(t, browser, c);
    await orders.publish(a, span(1, 20));
    await showsAll(page, orders.published);
    const row = page.locator('tr[data-place="7"]');
    assert.match(await row.textContent(), /T-7\s+Test & Co\s+2 × Lamp\s+€42\.00\s+placed/);
    assert.equal(await row.getAttribute('data-id'), orders.published.get(7));
    await until('the row says where it was published', async () => (await row.getAttribute('data-node')) === a.name);

    await orders.publish(b, span(21, 30));
    await c.kill();
    for (let place = 31; place <= 60; place += 2) {
      await orders.publish(a, [place]);
      await orders.publish(b, [place + 1]);
    }
    await isOn(page, b);
    await orders.publish(a, span(61, 70));
    await showsAll(page, orders.published);
    assert.deepEqual([...(await rows(page))].sort(([x], [y]) => x - y), [...orders.published]);
    assert.deepEqual(await tally(page), { received: orders.count, twice: 0, told: 0, missing: 0 });
    assert.ok((await logLines(page, 'good')).some((line) => line.startsWith(`Recovered on ${b.name}`)));
    assert.deepEqual(await logLines(page, 'bad'), []);
    await until('the page says that c is gone', () => page.locator(`#nodes [data-node="${c.name}"][data-state="down"]`).count());
    assert.deepEqual(page.problems, []);
  });

  test('a_page_that_was_away_is_given_what_it_missed_and_shows_a_gap_when_that_is_more_than_the_history_holds', async (t) => {
    const [a, b, c] = await startBoard(t, { rules: small });
    const orders = new Orders();
    const page = await openBoard(t, browser, a);
    await orders.publish(b, span(1, 5));
    await showsAll(page, orders.published);

    await page.click('#offline');
    await until('it is offline', async () => (await state(page)).state === 'closed');
    await orders.publish(b, span(6, 15));
    assert.equal((await rows(page)).size, 5);
    await page.click('#offline');
    await isOn(page, a);
    await showsAll(page, orders.published);
    assert.match((await logLines(page, 'good')).join('\n'), /Recovered on node1.*: 10 missed, all replayed/);
    assert.deepEqual(await logLines(page, 'bad'), []);
    assert.deepEqual(await tally(page), { received: 15, twice: 0, told: 0, missing: 0 });

    await page.click('#offline');
    await until('it is offline', async () => (await state(page)).state === 'closed');
    const last = await orders.publish(c, span(16, 75));
    await page.click('#offline');
    await isOn(page, a);
    await until('the page shows the gap', async () => (await logLines(page, 'bad')).length > 0);
    assert.match((await logLines(page, 'bad'))[0], /^Gap: away for longer than the history reaches/);
    await until('the board is loaded anew', async () => (await rows(page)).get(75) === last.at(-1));
    await orders.publish(b, [76]);
    await until('it goes on', async () => (await rows(page)).get(76) === orders.published.get(76));
    const counted = await tally(page);
    assert.ok(counted.told > 0);
    assert.deepEqual(counted, { received: orders.count - counted.told, twice: 0, told: counted.told, missing: 0 });
    assert.deepEqual(page.problems, []);
  });

  test('its_button_publishes_through_the_api_of_the_chosen_node_and_a_page_on_another_sees_it', async (t) => {
    const [a, b, c] = await startBoard(t);
    const [here, there] = [await openBoard(t, browser, a), await openBoard(t, browser, c)];
    await until('both know that there is no order', async () => (await here.isVisible('#empty')) && (await there.isVisible('#empty')));
    const row = there.locator('tr[data-place="1"]');
    for (const node of [b, a]) {
      await here.selectOption('#publish-on', node.name);
      await here.click('#publish');
      const id = `${(await node.clusterView()).self.incarnation}-1`;
      await until('the other page has it', async () => (await rows(there)).get(1) === id);
      const line = await until('this page says what became of it', async () =>
        (await logLines(here)).find((text) => text.includes(id) && text.includes(`here on ${a.name}`)));
      assert.match(line, new RegExp(`published on ${node.name} as ${id}, here on ${a.name} within`));
    }
    await row.getByRole('button').click();
    await until('the other page sees the next step', async () => (await here.locator('tr[data-place="1"]').textContent()).includes('packed'));
    await until('it was published', async () => (await b.history('room:orders')).length === 3);
    assert.deepEqual([here.problems, there.problems], [[], []]);
  });

  test('it_says_which_node_it_is_on_while_it_is_dropped_and_moved_and_loses_nothing', async (t) => {
    const [a, b, c] = await startBoard(t);
    const orders = new Orders();
    const page = await openBoard(t, browser, a);
    await until('a has one page', async () => (await page.textContent('#nodes [data-node="node1"] .pages')) === '1 page');
    await orders.publish(b, span(1, 5));
    await page.click('#drop');
    await orders.publish(a, span(6, 10));
    await isOn(page, b);
    await orders.publish(c, span(11, 15));
    await page.click('#nodes [data-node="node1"] button');
    await isOn(page, a);
    await page.click('#nodes [data-node="node3"] button');
    await orders.publish(b, span(16, 20));
    await isOn(page, c);
    await until('c has the page', async () => (await page.textContent('#nodes [data-node="node3"] .pages')) === '1 page');
    await showsAll(page, orders.published);
    assert.deepEqual(await tally(page), { received: 20, twice: 0, told: 0, missing: 0 });
    assert.equal(await page.textContent('#link-text'), 'On node3');
    assert.ok((await logLines(page, 'warn')).some((line) => line.startsWith('Connection lost: dropped on purpose')));
    assert.deepEqual(page.problems, []);
  });

  test('a_row_that_changes_lights_up_and_where_less_motion_is_wanted_it_is_marked_without_any', async (t) => {
    const [a] = await startBoard(t, { order: [0] });
    const orders = new Orders();
    const page = await openBoard(t, browser, a);
    const lit = () => page.evaluate(() => [document.querySelectorAll('.fresh').length > 0, document.getAnimations().length > 0]);
    for (const [motion, moves] of [['no-preference', true], ['reduce', false]]) {
      await page.emulateMedia({ reducedMotion: motion });
      await until('the row is marked', async () => {
        await orders.publish(a, [orders.count + 1]);
        const [fresh, animated] = await lit();
        assert.ok(moves || !animated);
        return fresh && animated === moves;
      });
      await until('and no longer', async () => !(await lit())[0]);
    }
  });

  test('it_fits_a_phone_and_follows_the_system_or_the_button_in_its_colours', async (t) => {
    const [a, b, c] = await startBoard(t);
    const orders = new Orders();
    await orders.publish(b, span(1, 10));
    const page = await openBoard(t, browser, c, { viewport: { width: 360, height: 740 }, colorScheme: 'dark' });
    await showsAll(page, orders.published);
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 360);
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const dark = await ground();
    await page.emulateMedia({ colorScheme: 'light' });
    const light = await ground();
    assert.notEqual(light, dark);
    await page.click('#theme');
    assert.equal(await ground(), dark);
    const asked = new Set();
    page.on('request', (request) => asked.add(new URL(request.url()).hostname));
    await paintBeforeTheNodesAreKnown(page);
    await page.goto(site(c), { waitUntil: 'commit' });
    await isOn(page, c);
    assert.equal(await ground(), dark);
    await showsAll(page, orders.published);
    assert.deepEqual([...asked], ['127.0.0.1']);
    await page.click('#theme');
    assert.equal(await ground(), light);
    assert.ok((await layoutShift(page)) < 0.05);
    for (const node of [a, b, c]) assert.ok(await page.isVisible(`#nodes [data-node="${node.name}"]`));
    assert.deepEqual(page.problems, []);
  });
});
