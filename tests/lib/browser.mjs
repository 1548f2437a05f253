// Debian's Chromium, driven by Playwright. Only for the release build: a page's own time limits don't grow under sanitizers.
import { createRequire } from 'node:module';
import { after } from 'node:test';
import { root } from './node.mjs';
import { patience } from './wait.mjs';

const { chromium } = createRequire(`${root}/tests/clients/`)('playwright-core');

// For the option `skip` of tests: false, or why not.
export const noBrowser = patience > 1 && 'a browser is tested with the release build';

// For a whole test file, awaited at its top level: ended after the file's last test. args: more of Chromium's switches. undefined where
// noBrowser says so.
export async function sharedBrowser(args = []) {
  if (noBrowser) return undefined;
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', ...args],
  });
  after(() => browser.close());
  return browser;
}

// A page in a context (cookies, storage, network) of its own, closed when the test `t` ends. page.problems: what went wrong in its scripts,
// for the test to find empty. That a connection could not be had, which Chromium reports as an error too, is not one of them.
export async function openPage(t, browser, url, options = {}) {
  const context = await browser.newContext(options);
  t.after(() => context.close());
  const page = await context.newPage();
  page.problems = [];
  page.on('pageerror', (error) => page.problems.push(String(error)));
  page.on('console', (message) => {
    const text = message.text();
    if (message.type() === 'error' && !/^(WebSocket connection to|Failed to load resource)/.test(text)) page.problems.push(text);
  });
  await page.goto(url);
  return page;
}
