// HAProxy and nginx before a cluster, by the sample files of deploy/: only addresses, ports and paths are replaced, and each must be there.
import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { makeCertificate } from './certificate.mjs';
import { root, workFolder } from './node.mjs';
import { freePort } from './ports.mjs';
import { until, within } from './wait.mjs';

// passing: with the alternative that the comment at its end holds, in which the nodes end TLS, in place of everything from `http` on (`from`).
function sample(name, replacements, { passing, from }) {
  let text = fs.readFileSync(path.join(root, 'deploy', name), 'utf8');
  if (passing) {
    const [whole, comment] = text.split('# Where the nodes themselves end TLS');
    const alternative = [...comment.matchAll(/^#   (.*)$/gm)].map(([, line]) => `${line}\n`).join('');
    text = whole.slice(0, whole.indexOf(`\n${from}`)) + alternative;
  }
  for (const [what, by] of replacements) {
    if (!text.includes(what)) throw new Error(`deploy/${name} has no ${what}`);
    text = text.replaceAll(what, by);
  }
  // The files name three nodes: those that the test doesn't have go, with the ports that are theirs whoever else runs here.
  return text.replace(/^.*\b(10\.0\.0\.[1-3]:400[01]|127\.0\.0\.1:410[1-3])\b.*\n/gm, '');
}

const accepts = (port) =>
  new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });

class Balancer {
  constructor(folder, name) {
    Object.assign(this, { folder, name, log: path.join(folder, `${name}.log`) });
  }

  get url() {
    return `wss://localhost:${this.port}/socket`;
  }

  // Runs it until the test ends; it must take its file without a warning.
  async run(t, program, args, checkArgs) {
    const checked = spawnSync(program, checkArgs, { encoding: 'utf8' });
    const said = checked.stdout + checked.stderr;
    if (checked.error || checked.status !== 0 || /warn/i.test(said)) throw new Error(`${program}: ${checked.error ?? said}`);
    const out = fs.openSync(this.log, 'a');
    this.child = spawn(program, args, { stdio: ['ignore', out, out] });
    fs.closeSync(out);
    const exited = new Promise((resolve) => this.child.once('exit', resolve));
    const end = () => this.child.kill('SIGTERM');
    process.on('exit', end);
    t.after(async () => {
      process.off('exit', end);
      end();
      await within(10_000, `the end of ${this.name}`, exited);
    });
    await until(`${this.name} listens`, () => accepts(this.port));
    return this;
  }
}

export class Haproxy extends Balancer {
  static options = { proxy_protocol_from: '127.0.0.1' }; // what the file says that nodes need
  static passing = this.options;
  // passing: { cert, key } of the nodes, which end TLS.
  // more: further replacements in the file.
  static async start(t, nodes, passing, more = () => []) {
    const haproxy = new this(workFolder(), 'haproxy');
    const { folder } = haproxy;
    const { cert, key } = passing ?? makeCertificate(folder);
    [haproxy.port, haproxy.apiPort] = [await freePort(), await freePort()];
    haproxy.ca = fs.readFileSync(cert);
    haproxy.caFile = cert;
    haproxy.control = path.join(folder, 'admin.sock');
    fs.writeFileSync(path.join(folder, 'both.pem'), haproxy.ca + fs.readFileSync(key), { mode: 0o600 });
    const { username, gid } = os.userInfo();
    const file = path.join(folder, 'haproxy.cfg');
    fs.writeFileSync(file, sample('haproxy.cfg', [
      ['user haproxy\n', `user ${username}\n`],
      ['group haproxy\n', `gid ${gid}\n`],
      ['log /dev/log local0', 'log stdout format raw local0'],
      ['maxconn 100000', 'maxconn 5000'],
      ['/run/haproxy/admin.sock', haproxy.control],
      ['bind :443', `bind 127.0.0.1:${haproxy.port}`],
      ...nodes.map((node, i) => [`10.0.0.${i + 1}:4000`, `127.0.0.1:${node.port}`]),
      ...(passing ? [] : [
        ['/etc/haproxy/fanmesh.pem', path.join(folder, 'both.pem')],
        ['bind 127.0.0.1:4001', `bind 127.0.0.1:${haproxy.apiPort}`],
        ...nodes.map((node, i) => [`10.0.0.${i + 1}:4001`, `127.0.0.1:${node.apiPort}`]),
      ]),
      ...more(haproxy),
    ], { passing, from: 'frontend clients' }));
    Object.assign(haproxy, { nodes, rows: passing ? 1 : 2 });
    await haproxy.run(t, '/usr/sbin/haproxy', ['-db', '-f', file], ['-c', '-f', file]);
    for (const node of nodes) await haproxy.has(node);
    return haproxy;
  }

  // Of a node's lines in `show stat`: one for clients, one for the API.
  async states(node) {
    const socket = net.connect(this.control);
    let text = '';
    socket.on('data', (bytes) => (text += bytes));
    socket.end('show stat\n');
    await within(15_000, 'the statistics', new Promise((resolve, reject) => socket.once('close', resolve).once('error', reject)));
    const [head, ...rows] = text.trim().split('\n').map((line) => line.split(','));
    const name = `node${this.nodes.indexOf(node) + 1}`;
    return rows.filter((row) => row[head.indexOf('svname')] === name).map((row) => row[head.indexOf('status')]);
  }

  async every(node, state) {
    const states = await this.states(node);
    return states.length === this.rows && states.every((each) => each.startsWith(state));
  }

  has(node) {
    return until(`${this.name} has ${node.name}`, () => this.every(node, 'UP'), 30_000);
  }
  misses(node) {
    return until(`${this.name} misses ${node.name}`, () => this.every(node, 'DOWN'), 30_000);
  }
}

// The same file, but for clients without TLS, each of whose requests goes to the next node; webSockets: false refuses those.
export class Spread extends Haproxy {
  get url() {
    return `ws://127.0.0.1:${this.port}/socket`;
  }
  static start(t, nodes, { webSockets = true } = {}) {
    return super.start(t, nodes, undefined, (haproxy) => [
      [` ssl crt ${haproxy.folder}/both.pem alpn http/1.1`, webSockets ? '' : '\n    http-request deny if { hdr(upgrade) -i websocket }'],
      ['balance leastconn', 'balance roundrobin'],
    ]);
  }
}

export class Nginx extends Balancer {
  static options = { trusted_proxies: '127.0.0.1' };
  static passing = { proxy_protocol_from: '127.0.0.1' };
  // more: further replacements in the file, before the others.
  static async start(t, nodes, passing, more = () => []) {
    const nginx = new this(workFolder(), 'nginx');
    const { folder } = nginx;
    const { cert, key } = passing ?? makeCertificate(folder);
    nginx.port = await freePort();
    nginx.ca = fs.readFileSync(cert);
    nginx.caFile = cert;
    const inner = [];
    for (const node of nodes) inner.push([node, await freePort()]);
    const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};\n`).join('');
    const file = path.join(folder, 'nginx.conf');
    fs.writeFileSync(file, sample('nginx.conf', [
      ...more(nginx),
      ['user www-data;', process.getuid() === 0 ? 'user root;' : ''],
      ['worker_rlimit_nofile 200000', 'worker_rlimit_nofile 5000'],
      ['worker_connections 100000', 'worker_connections 5000'],
      ...(passing ? [
        ['listen 443', `listen 127.0.0.1:${nginx.port}`],
        ['events {', 'load_module /usr/lib/nginx/modules/ngx_stream_module.so;\nevents {'],
        ...nodes.map((node, i) => [`10.0.0.${i + 1}:4000`, `127.0.0.1:${node.port}`]),
      ] : [
        ['http {\n', `http {\n${temp}`],
        ['/var/log/nginx', folder],
        ['listen 443', `listen 127.0.0.1:${nginx.port}`],
        ['/etc/nginx/fanmesh/cert.pem', cert],
        ['/etc/nginx/fanmesh/key.pem', key],
        ...inner.map(([node, port], i) => [`410${i + 1} 10.0.0.${i + 1}:4000`, `${port} 127.0.0.1:${node.port}`]),
        ...inner.map(([, port], i) => [`127.0.0.1:410${i + 1}`, `127.0.0.1:${port}`]),
      ]),
    ], { passing, from: 'http {' }));
    const args = ['-p', folder, '-e', nginx.log, '-c', file, '-g', `daemon off; pid ${folder}/nginx.pid;`];
    return nginx.run(t, '/usr/sbin/nginx', args, [...args.slice(0, -1), `pid ${folder}/nginx.pid;`, '-t']);
  }

  // It asks at every new client.
  async has() {}
  async misses() {}
}

// The same file, but for clients without TLS, and with what keeps WebSockets from them: `refuse`: it answers 403; `strip`: it doesn't know
// of them, as nginx without those lines, and hands the request on without its Upgrade.
export class Unaware extends Nginx {
  get url() {
    return `ws://127.0.0.1:${this.port}/socket`;
  }
  static start(t, nodes, how) {
    const upgrades = [['proxy_set_header Upgrade $http_upgrade;', ''], ['proxy_set_header Connection $fanmesh_connection;', "proxy_set_header Connection '';"]];
    const refusal = ['proxy_pass http://fanmesh;', 'if ($http_upgrade) { return 403; }\n            proxy_pass http://fanmesh;'];
    return super.start(t, nodes, undefined, () => [['listen 443 ssl', 'listen 443'], ...(how === 'strip' ? upgrades : [refusal])]);
  }
}

// At least `n` clients, made one by one by make(i), and as many as it takes until each of the nodes has one, by a metric: where the next
// one gets nobody can say from here, and for a balancer a node that a busy machine keeps waiting is away for a while.
export async function clientsOn(nodes, n, make, metric = 'fanmesh_subscriptions') {
  const clients = [];
  const haveAll = async () => (await Promise.all(nodes.map((node) => node.metric(metric)))).every((count) => count > 0);
  while (clients.length < n || !(await haveAll())) {
    if (clients.length >= 10 * n) throw new Error('there is a node that has none of the clients');
    clients.push(await make(clients.length));
  }
  return clients;
}
