// The package as npm hands it out: what is in it, that bundlers and TypeScript take it, and that the docs' snippets run as they stand there.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { test } from 'node:test';
import { noBrowser, openPage, sharedBrowser } from '../lib/browser.mjs';
import { startCluster } from '../lib/cluster.mjs';
import { install, pack, run, versions } from '../lib/fanmesh.mjs';
import { root } from '../lib/node.mjs';
import { WebSocket } from '../lib/phoenix.mjs';
import { fit, snippet } from '../lib/snippets.mjs';
import { until } from '../lib/wait.mjs';

const tools = path.join(root, 'tests/clients/node_modules');
const { buildSync } = createRequire(`${root}/tests/clients/`)('esbuild');
const browser = await sharedBrowser();
const source = (file) => fs.readFileSync(path.join(root, file), 'utf8');

test('the_package_holds_its_sources_types_readme_and_license_and_nothing_else', () => {
  const { files, version, name } = pack();
  const sources = fs.readdirSync(path.join(root, 'web/client/src')).map((file) => `src/${file}`);
  assert.deepEqual(files.map((file) => file.path).toSorted(), ['LICENSE', 'README.md', 'package.json', ...sources].toSorted());
  assert.equal(name, 'fanmesh');
  assert.equal(version, source('CMakeLists.txt').match(/project\(fanmesh VERSION ([\d.]+)/)[1]);
  assert.equal(source('web/client/LICENSE'), source('LICENSE'));
});

test('what_the_package_says_of_itself_leads_to_files_that_are_in_it', async () => {
  const folder = path.join(install(), 'node_modules/fanmesh');
  const { exports, types, dependencies } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
  for (const file of [...Object.values(exports['.']), types]) assert.ok(fs.existsSync(path.join(folder, file)), file);
  assert.deepEqual(Object.keys(dependencies), ['phoenix']);
  const own = Object.keys(await import(pathToFileURL(path.join(folder, exports['.'].default)).href)).toSorted();
  assert.deepEqual(own, ['Fanmesh', 'FanmeshError', 'backoffMs']);
});

for (const resolution of [['nodenext', 'nodenext'], ['esnext', 'bundler']]) {
  test(`its_types_hold_with_module_resolution_${resolution[1]}`, () => {
    const folder = install();
    fs.copyFileSync(path.join(root, 'tests/web/types/usage.ts'), path.join(folder, 'usage.mts'));
    const [module, moduleResolution] = resolution;
    run(process.execPath, [
      path.join(tools, 'typescript/bin/tsc'), '--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,dom', '--types', '', '--module', module,
      '--moduleResolution', moduleResolution, 'usage.mts',
    ], { cwd: folder });
  });
}

// The types are written by hand: each member that they declare is there, and each that is there is declared.
test('the_types_declare_what_the_classes_have', () => {
  const text = source('web/client/src/index.d.ts');
  const declared = (kind, name) => {
    const [, body] = text.match(new RegExp(`export ${kind} ${name} (?:extends \\w+ )?\\{\\n(.*?)\\n\\}`, 's'));
    return [...new Set([...body.matchAll(/^ {2}(?:readonly )?(\w+)(?=[<(:?])/gm)].map(([, member]) => member))].filter((member) => member !== 'constructor');
  };
  const members = (object) => {
    const names = Object.keys(object);
    for (let proto = object; proto !== Object.prototype; proto = Object.getPrototypeOf(proto)) names.push(...Object.getOwnPropertyNames(proto));
    return [...new Set(names)];
  };
  const mesh = new versions['phoenix 1.8'].Fanmesh('ws://127.0.0.1:1/socket', { WebSocket });
  const sub = mesh.subscribe('t');
  const inner = ['constructor', 'emit', 'report', 'connected', 'disconnected', 'end']; // for one another
  assert.deepEqual(declared('class', 'Fanmesh').toSorted(), members(mesh).filter((name) => !inner.includes(name)).toSorted());
  assert.deepEqual(declared('interface', 'Subscription').toSorted(), members(sub).filter((name) => !inner.includes(name)).toSorted());
  assert.deepEqual(declared('interface', 'Counters').toSorted(), Object.keys(mesh.counters).toSorted());
  return mesh.close();
});

for (const [phoenix, format, platform] of [['phoenix', 'esm', 'browser'], ['phoenix-1.7', 'iife', 'browser'], ['phoenix', 'cjs', 'node']]) {
  test(`esbuild_bundles_it_with_${phoenix}_as_${format}_for_${platform}`, () => {
    const folder = install(phoenix);
    const { outputFiles: [{ text }], warnings } = buildSync({
      stdin: { contents: 'import { Fanmesh } from "fanmesh"; globalThis.made = Fanmesh.name', resolveDir: folder },
      bundle: true, write: false, format, platform, logLevel: 'silent',
    });
    assert.deepEqual(warnings, []);
    const file = path.join(folder, format === 'esm' ? 'bundle.mjs' : 'bundle.cjs');
    fs.writeFileSync(file, `${text}\nconsole.log(globalThis.made)`);
    assert.equal(run(process.execPath, [file]).trim(), 'Fanmesh');
  });
}

// ---- snippets ----

const at = (kind, nodes) => fit(snippet('docs/guide.md', 'The package fanmesh', kind), { nodes });

test('the_guides_program_for_node_prints_what_is_published_on_any_node', async (t) => {
  const { nodes } = await startCluster(t, 3);
  const folder = install();
  fs.cpSync(path.join(tools, 'ws'), path.join(folder, 'node_modules/ws'), { recursive: true });
  fs.writeFileSync(path.join(folder, 'listen.mjs'), at('js', nodes));
  const child = spawn(process.execPath, ['listen.mjs'], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  let [out, err] = ['', ''];
  child.stdout.on('data', (data) => (out += data));
  child.stderr.on('data', (data) => (err += data));
  const publish = (node, text) => node.publish({ topic: 'room:lobby', event: 'msg', payload: { text }, ack: 'replicated' });
  const ids = [await publish(nodes[0], 'before')];
  await until('it has what was there', () => out.includes('before'));
  const url = await until('it says where it is', () => err.match(/^open (\S+)/m)?.[1]);
  const node = nodes.find(({ ws }) => ws === url);
  await node.kill();
  ids.push(await publish(nodes.find(({ running }) => running), 'after'));
  await until('it has what came after', () => out.includes('after'));
  assert.deepEqual(out.trim().split('\n'), [`${ids[0]} msg {"text":"before"}`, `${ids[1]} msg {"text":"after"}`]);
});

test('the_guides_page_shows_what_is_said_on_any_node', { skip: noBrowser }, async (t) => {
  const folder = install();
  const { nodes } = await startCluster(t, 3, { options: { web_root: folder, origins: '*' } });
  fs.writeFileSync(path.join(folder, 'lobby.html'), at('html', nodes));
  const url = `http://127.0.0.1:${nodes[0].port}/lobby.html`;
  const pages = [await openPage(t, browser, url), await openPage(t, browser, url)];
  for (const page of pages) await until('it is connected', () => page.evaluate(() => document.querySelector('#state').textContent.startsWith('open: ')));
  await pages[0].fill('input', 'hello');
  await pages[0].click('button');
  await nodes[2].publish({ topic: 'room:lobby', event: 'msg', payload: { text: 'from a backend' } });
  for (const page of pages) {
    await until('both lines are there', async () => {
      const lines = await page.evaluate(() => [...document.querySelectorAll('li')].map((item) => item.textContent));
      return lines.toSorted().join() === 'from a backend,hello';
    });
    assert.deepEqual(page.problems, []);
  }
  assert.equal(await pages[0].inputValue('input'), '');
});
