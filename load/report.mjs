#!/usr/bin/env node
// One page of pictures from several results of fanmesh-load --json. Files of one name but for a number in it (floor-1000.json,
// floor-8000.json) become one curve of cost over scale. The page is that of fanmesh-load --report.
import fs from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';

function fail(sentence) {
  console.error(`report.mjs: ${sentence}`);
  process.exit(2);
}

let given;
try {
  given = parseArgs({ options: { out: { type: 'string', default: 'report.html' } }, allowPositionals: true });
} catch (error) {
  fail(`${error.message}; usage: report.mjs [--out FILE.html] RESULT.json...`);
}
if (given.positionals.length === 0) fail('usage: report.mjs [--out FILE.html] RESULT.json...');

const results = given.positionals.map((file) => {
  let result;
  try {
    result = JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch (error) {
    fail(`${file}: ${error.message}`);
  }
  if (!result.plots || !result.latency_us) fail(`${file}: not a result of fanmesh-load --json`);
  return { ...result, label: result.label ?? path.basename(file, '.json') };
});
const template = fs.readFileSync(new URL('report.html', import.meta.url), 'utf8');
const json = JSON.stringify(results).replaceAll('<', '\\u003c');
fs.writeFileSync(given.values.out, template.replace('/*RESULTS*/', () => json));
