// deploy/Dockerfile. There is no container runtime in the tests: a linter reads the file, and then each of its instructions is carried out, as
// it stands, in bare Debian systems in place of the base images.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import fs from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { Bare, bareImpossible } from '../lib/bare.mjs';
import { root } from '../lib/node.mjs';

const require = createRequire(new URL('../system/package.json', import.meta.url));
const { validate } = require('dockerfile-utils');
const { DockerfileParser } = createRequire(require.resolve('dockerfile-utils'))('dockerfile-ast');

const text = fs.readFileSync(path.join(root, 'deploy/Dockerfile'), 'utf8');
const instructions = DockerfileParser.parse(text).getInstructions();
const skip = bareImpossible();
const stages = new Map();
let image; // what the last stage came to

after(() => stages.forEach((stage) => stage.bare.remove()));

const plain = (instruction) => instruction.getArgumentsContent()?.replace(/\\\n/g, ' ') ?? '';

test('a_linter_of_dockerfiles_finds_nothing_in_it', () => {
  assert.deepEqual(validate(text, {}).map(({ message, range }) => `${range.start.line + 1}: ${message}`), []);
  const wrong = validate(text.replace('STOPSIGNAL SIGTERM', 'STOPSIGNAL'), {});
  assert.ok(wrong.length > 0, 'it would find something');
});

test('it_builds_with_the_packages_that_bootstrap_installs_for_building', () => {
  const bootstrap = fs.readFileSync(path.join(root, 'script/bootstrap'), 'utf8');
  const part = bootstrap.match(/^packages=\(\n([^]*?)\n {4}# tests/m)[1].replace(/^ *#.*$/gm, '');
  const first = plain(instructions.find((one) => one.getKeyword() === 'RUN')).match(/--no-install-recommends\s+([^&]*)$/)[1];
  assert.deepEqual(first.trim().split(/\s+/).sort(), part.trim().split(/\s+/).sort());
});

// The build's context: what is under version control or would be; Dockerfile.dockerignore leaves the rest out.
function copyContext(to) {
  fs.mkdirSync(to, { recursive: true });
  const script = 'git ls-files -z --cached --others --exclude-standard | tar --create --null --files-from - --ignore-failed-read | tar --extract --directory "$0"';
  const done = spawnSync('bash', ['-eo', 'pipefail', '-c', script, to], { cwd: root, encoding: 'utf8' });
  assert.equal(done.status, 0, done.stderr);
}

const steps = {
  async FROM(words) {
    assert.match(words[0], /^debian:bookworm(-slim)?$/);
    image = { bare: await Bare.create(), env: {}, folder: '/', user: 'root' };
    stages.set(words[2] ?? 'last', image);
  },
  RUN(words, all) {
    image.bare.sh(`cd ${image.folder}\nexport ${Object.entries(image.env).map(([name, value]) => `${name}='${value}'`).join(' ')}\n${all}`);
  },
  COPY(words, all, instruction) {
    const stage = instruction.getFromFlag()?.getValue();
    const [from, to] = words.slice(-2);
    if (!stage) return assert.equal(from, '.') ?? copyContext(image.bare.at(to));
    const done = spawnSync('bash', ['-c', `cp ${stages.get(stage).bare.at(from)} ${image.bare.at(to)}`], { encoding: 'utf8' });
    assert.equal(done.status, 0, done.stderr);
  },
  WORKDIR: ([folder]) => void (image.folder = folder),
  ENV: ([pair]) => void (image.env[pair.split('=')[0]] = pair.split('=')[1]),
  USER: ([user]) => void (image.user = user),
  EXPOSE: (ports) => void (image.ports = ports),
  STOPSIGNAL: ([signal]) => void (image.signal = signal),
  HEALTHCHECK: (words, all) => void (image.health = JSON.parse(all.replace(/^CMD /, ''))),
  ENTRYPOINT: (words, all) => void (image.entry = JSON.parse(all)),
  CMD: (words, all) => void (image.arguments = JSON.parse(all)),
};

test('its_instructions_build_an_image_from_a_bare_debian', { skip }, async () => {
  for (const instruction of instructions) {
    const step = steps[instruction.getKeyword()];
    assert.ok(step, `this test does not know ${instruction.getKeyword()}`);
    const all = plain(instruction).trim();
    await step(all.split(/\s+/), all, instruction);
  }
  assert.ok(!fs.existsSync(image.bare.at('/etc/fanmesh/api.key')), 'a key in the image would be everybody\'s');
});

test('a_container_of_it_does_not_start_without_a_key_and_says_so', { skip }, () => {
  const { status, stderr } = image.bare.run([...image.entry, ...image.arguments], { lonely: true, user: image.user, env: image.env });
  assert.equal(status, 2);
  assert.match(stderr, /api_key: the API needs a key/);
});

test('a_container_of_it_is_healthy_serves_and_ends_well_when_it_is_stopped', { skip }, () => {
  fs.mkdirSync(image.bare.at('/run/secrets'), { recursive: true });
  fs.writeFileSync(image.bare.at('/run/secrets/api.key'), 'a-key-of-its-own\n');
  const words = (list) => list.map((word) => `'${word}'`).join(' ');
  const printed = image.bare.sh(
    `${words([...image.entry, ...image.arguments])} >/tmp/node.log 2>&1 & node=$!
     for i in $(seq 200); do ${words(image.health)} >/tmp/health 2>&1 && break; sleep 0.1; done
     for i in $(seq 200); do ${words(image.health)} --check >/tmp/health 2>&1 && break; sleep 0.1; done
     cat /tmp/health
     [ -d /proc/$node ] || cat /tmp/node.log >&2
     stat -c 'runs as %U' /proc/$node
     kill -${image.signal.replace(/^SIG/, '')} $node
     wait $node && echo 'ended well'`,
    { lonely: true, user: image.user, env: { ...image.env, FANMESH_API_KEY_FILE: '/run/secrets/api.key' } },
  );
  assert.match(printed, /^NODE +STATE/m);
  assert.match(printed, /runs as fanmesh/);
  assert.match(printed, /ended well/);
});
