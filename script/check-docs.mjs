#!/usr/bin/env node
// Checks that the docs hold together: every relative link leads somewhere, every folder has its README, and what the docs say of
// commands, options and log lines is so. Without a built binary the options are not checked.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const problems = [];
const skipped = new Set(['node_modules', 'build', '.git', '.tools']);

function markdownFiles(folder) {
  return fs.readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const full = path.join(folder, entry.name);
    if (entry.isDirectory()) return skipped.has(entry.name) ? [] : markdownFiles(full);
    return entry.name.endsWith('.md') ? [full] : [];
  });
}

// The anchor that a heading gets on the usual forges.
const anchorOf = (heading) =>
  heading.trim().toLowerCase().replace(/[`*]/g, '').replace(/[^\p{L}\p{N} _-]/gu, '').replaceAll(' ', '-');

const withoutCode = (text) => text.replace(/^```[\s\S]*?^```/gm, '');
const anchors = (file) => [...withoutCode(fs.readFileSync(file, 'utf8')).matchAll(/^#+ (.+)$/gm)].map(([, heading]) => anchorOf(heading));

function checkLinks(file) {
  const text = withoutCode(fs.readFileSync(file, 'utf8')).replace(/`[^`\n]*`/g, '');
  for (const [, target] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
    if (/^[a-z]+:/.test(target)) continue;
    const [to, anchor] = target.split('#');
    const full = to ? path.resolve(path.dirname(file), to) : file;
    if (!fs.existsSync(full)) problems.push(`${path.relative(root, file)}: the link ${target} leads nowhere`);
    else if (anchor && full.endsWith('.md') && !anchors(full).includes(anchor)) {
      problems.push(`${path.relative(root, file)}: ${target}: there is no such heading`);
    }
  }
}

function checkCommands(file, options) {
  const text = fs.readFileSync(file, 'utf8');
  for (const [, name] of text.matchAll(/(?:^|[\s`(])(script\/[a-z-]+)\b(?!\.)/g)) {
    if (!fs.existsSync(path.join(root, name))) problems.push(`${path.relative(root, file)}: there is no ${name}`);
  }
  if (!options) return;
  for (const [line] of text.matchAll(/^.*\bfanmesh (?:serve|publish|subscribe|status|check-config)\b.*$/gm)) {
    for (const [, option] of line.matchAll(/\s(--[a-z][a-z_-]*)/g)) {
      if (!options.has(option.replaceAll('_', '-'))) problems.push(`${path.relative(root, file)}: fanmesh has no option ${option}`);
    }
  }
}

// The guide says that every line at warn or error says what to do, or what the node did: that is its `then="..."`.
function checkLogLines(folder) {
  const text = '"(?:[^"\\\\\\n]|\\\\.)*"';
  const call = new RegExp(`\\bfm_(?:diag|peer_say)\\((?:${text}|[^";])*;|${text}`, 'g');
  for (const name of fs.readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.c'))) {
    for (const [found] of fs.readFileSync(path.join(folder, name), 'utf8').matchAll(call)) {
      const keys = [...found.replace(/\\"(?:[^"\\]|\\[^"])*\\"/g, '').matchAll(/\b([a-z_]+)=(?!=)/g)].map(([, key]) => key);
      const twice = keys.find((key, i) => keys.indexOf(key) < i || ['ts', 'level', 'event', 'text', 'cut'].includes(key));
      if (found.startsWith('fm_') && twice) problems.push(`${path.basename(folder)}/${name}: a log line with ${twice}= twice: ${found.slice(0, 90)}`);
      if (!/FM_WARN|FM_ERROR|level=(?:warn|error) event/.test(found) || found.includes('then=')) continue;
      problems.push(`${path.basename(folder)}/${name}: a line at warn or error without then="...": ${found.replace(/\s+/g, ' ').slice(0, 90)}`);
    }
  }
}

// A metric that a page names exists; `fanmesh_slow_*` needs one that begins so.
function checkMetrics(file) {
  const page = path.join(root, 'docs/metrics.md');
  const known = [...fs.readFileSync(page, 'utf8').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name);
  const others = new Set(['fanmesh_mutated']); // a program
  for (const [, name, star] of fs.readFileSync(file, 'utf8').matchAll(/\b((?:fanmesh|process)_[a-z_]+)(\*?)/g)) {
    if (known.includes(name) || others.has(name) || (star && known.some((one) => one.startsWith(name)))) continue;
    problems.push(`${path.relative(root, file)}: there is no metric ${name}${star}`);
  }
}

function knownOptions() {
  const binary = path.join(root, 'build/release/fanmesh');
  if (!fs.existsSync(binary)) return undefined;
  const options = new Set(['--help']);
  const help = (words) => execFileSync(binary, [...words, '--help'], { encoding: 'utf8' });
  for (const [, command] of help([]).matchAll(/^ {2}([a-z][a-z-]*(?: [a-z][a-z-]*)?)/gm)) {
    for (const [option] of help(command.split(' ')).matchAll(/--[a-z][a-z_-]*/g)) options.add(option.replaceAll('_', '-'));
  }
  return options;
}

const files = markdownFiles(root);
const options = knownOptions();
for (const file of files) {
  checkLinks(file);
  checkCommands(file, options);
  checkMetrics(file);
}
for (const folder of ['gateway', 'broker']) checkLogLines(path.join(root, folder));
for (const folder of ['gateway', 'broker', 'include', 'web', 'tests', 'load', 'script', 'deploy', 'docs']) {
  if (!fs.existsSync(path.join(root, folder, 'README.md'))) problems.push(`${folder}/README.md is missing`);
}
for (const problem of problems) console.error(`error: ${problem}`);
console.log(`${files.length} files, ${problems.length} problems`);
process.exit(problems.length ? 1 : 0);
