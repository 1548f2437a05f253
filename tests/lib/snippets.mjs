// The docs' snippets: the fenced blocks of a page, taken from it and run as they stand there, with addresses and folders of a test in place of
// those that the docs use. tests/system/snippets.test.mjs says of each by which test it is run.
import { execFile } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { binary, root, workFolder } from './node.mjs';

// All of a page: { heading, kind, text }.
export function snippets(page) {
  const found = [];
  let heading, block;
  for (const line of fs.readFileSync(path.join(root, page), 'utf8').split('\n')) {
    if (block && line.startsWith('```')) {
      found.push({ ...block, text: block.lines.map((each) => `${each}\n`).join('') });
      block = undefined;
    } else if (block) {
      block.lines.push(line);
    } else if (line.startsWith('```')) {
      block = { heading, kind: line.slice(3), lines: [] };
    } else if (line.startsWith('#')) {
      heading = line.replace(/^#+ /, '');
    }
  }
  return found.map(({ lines, ...rest }) => rest);
}

// The text of the one of this kind below a heading.
export function snippet(page, heading, kind) {
  const [found, ...others] = snippets(page).filter((each) => each.heading === heading && each.kind === kind);
  if (!found || others.length > 0) throw new Error(`${page}, ${heading}: ${others.length + (found ? 1 : 0)} snippets in ${kind} instead of one`);
  return found.text;
}

// A settings file, as a node of a test takes it: { options, rules }.
export function settingsOf(text) {
  const members = (lines) => Object.fromEntries(lines.trim().split('\n').filter(Boolean).map((line) => line.split(' = ')));
  const [options, ...rest] = text.split(/^\[topic "(.*)"\]$/m);
  return { options: members(options), rules: Object.fromEntries(rest.flatMap((name, i) => (i % 2 ? [] : [[name, members(rest[i + 1])]]))) };
}

// nodes: for those on the ports 4000, 4010 and 4020, API on 4001, 4011 and 4021; folder: for /etc/fanmesh.
export function fit(text, { nodes = [], folder } = {}) {
  for (const [i, node] of nodes.entries()) {
    text = text.replaceAll(new RegExp(`\\b(localhost|127\\.0\\.0\\.1):40${i}([01])\\b`, 'g'), (_, host, api) => `127.0.0.1:${api === '1' ? node.apiPort : node.port}`);
  }
  return folder ? text.replaceAll('/etc/fanmesh', folder) : text;
}

const run = async (program, args, { env = {}, cwd }) => (await promisify(execFile)(program, args, { cwd, env: { ...process.env, no_proxy: '*', ...env } })).stdout;

// In bash, which ends at the first command that fails, a request that is refused among them. `fanmesh` is the binary under test. Returns what is
// printed.
export function runShell(text, { env = {}, cwd = workFolder() } = {}) {
  const home = workFolder();
  fs.writeFileSync(path.join(home, '.curlrc'), 'silent\nshow-error\nfail-with-body\n');
  const here = text.replaceAll('build/release/fanmesh', 'fanmesh');
  return run('bash', ['-euo', 'pipefail', '-c', here], { cwd, env: { CURL_HOME: home, PATH: `${path.dirname(binary)}:${process.env.PATH}`, ...env } });
}

// A program of one file, by what runs such files.
const runFile = (name, program) => (text, { cwd = workFolder() } = {}) => {
  const file = path.join(cwd, name);
  fs.writeFileSync(file, text);
  return run(program, [file], { cwd });
};
export const runPython = runFile('snippet.py', 'python3');
export const runPhp = runFile('snippet.php', 'php');
export const runNode = runFile('snippet.mjs', process.execPath);
