import { find, library, Servers, versionOf } from '../host.mjs';

const status = async (port) => (await fetch(`http://127.0.0.1:${port}/status`)).text();

function nginx(place, port, redis) {
  const config = place.fill(
    'nchan',
    'nginx.conf',
    {
      port,
      folder: place.folder,
      module: library('nginx/modules/ngx_nchan_module.so'),
      upstream: redis ? `upstream redis { nchan_redis_server redis://127.0.0.1:${redis}; }` : '',
      redis: redis ? 'nchan_redis_pass redis;' : '',
    },
    `nginx-${port}.conf`,
  );
  return { command: [find('nginx'), '-c', config, '-p', place.folder, '-e', 'stderr'], port };
}

async function one(place) {
  const [port] = await place.ports(1);
  // The listener is there before the worker is.
  const ready = async () => (await status(port)).includes('nchan version');
  return { processes: [nginx(place, port)], ready, load: { framing: 'websocket', nodes: `ws://127.0.0.1:${port}/both/{topic}` } };
}

// Only a running nchan says which it is.
async function version() {
  const nginxVersion = versionOf([find('nginx'), '-v'], /nginx\/([\d.]+)/);
  const servers = await Servers.start(one);
  const said = await status(servers.launch.processes[0].port).finally(() => servers.stop());
  return `${said.match(/nchan version: ([\d.]+)/)[1]}, nginx ${nginxVersion}`;
}

export default {
  name: 'nchan',
  title: 'nchan',
  version,
  settings: 'one worker, messages buffered (1,000 of a topic, 5 minutes), 256 MiB of shared memory; cluster: three nginx and one Redis, nchan_redis_pass',
  one,
  async three(place) {
    const [redis, ...ports] = await place.ports(4);
    return {
      processes: [
        { command: [find('redis-server'), '--bind', '127.0.0.1', '--port', redis, '--save', '', '--appendonly', 'no', '--dir', place.folder], port: redis },
        ...ports.map((port) => nginx(place, port, redis)),
      ],
      ready: async () => (await Promise.all(ports.map(status))).every((text) => /^redis connected servers: [1-9]/m.test(text)),
      load: { framing: 'websocket', nodes: `ws://127.0.0.1:${ports[1]}/sub/{topic}`, api: `http://127.0.0.1:${ports[0]}/pub/{topic}` },
    };
  },
};
