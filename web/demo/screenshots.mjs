#!/usr/bin/env node
// The pictures of the README: node web/demo/screenshots.mjs http://localhost:4000, while script/server runs.
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { chromium } = createRequire(`${root}/tests/clients/`)("playwright-core");
const url = process.argv[2] ?? "http://localhost:4000";
const settleMs = 45_000; // a plot that has something to show

const desktop = { viewport: { width: 1280, height: 848 } };
const phone = { viewport: { width: 390, height: 844 }, deviceScaleFactor: 1.5, isMobile: true, hasTouch: true };
const pictures = {
  "board-light": { ...desktop, colorScheme: "light" },
  "board-dark": { ...desktop, colorScheme: "dark" },
  "board-phone": { ...phone, colorScheme: "light" },
};

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
// A page on another node, so that there is somebody there.
async function visit(node, page) {
  const other = await browser.newPage();
  await other.goto(`http://${await page.textContent(`#nodes [data-node="${node}"] .address`)}`);
  return other;
}

for (const [name, options] of Object.entries(pictures)) {
  const page = await browser.newPage(options);
  await page.goto(url);
  const others = await Promise.all(["node2", "node3", "node3"].map((node) => visit(node, page)));
  await page.waitForTimeout(settleMs);
  await page.click("#drop");
  await page.waitForSelector("#log .good");
  await page.click("#publish");
  await page.mouse.move(0, 0);
  await page.evaluate(() => document.activeElement.blur());
  await page.waitForTimeout(2500);
  await page.screenshot({ path: `${root}/docs/images/${name}.png` });
  await Promise.all([page, ...others].map((open) => open.close()));
}
await browser.close();
