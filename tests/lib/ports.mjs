// Free ports on loopback. A node is restarted on the ports that it had, so they are chosen here and not by the system.
// Test files run in parallel as processes of their own, several runs of all of them as well. So each takes slices of the range for itself: it
// listens on a slice's first port for as long as it lives. Every other port is tried before it is given away, for whoever knows nothing of this.
import net from 'node:net';

const [low, high] = (process.env.FANMESH_TEST_PORTS ?? '20000-29999').split('-').map(Number);
const size = 50;
const slices = Math.floor((high - low + 1) / size);

// A server that listens there, undefined where somebody else does.
function listen(port) {
  return new Promise((resolve) => {
    const server = net.createServer((socket) => socket.destroy());
    server.once('error', () => resolve(undefined));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => resolve(server));
  });
}

async function* ports() {
  for (let tries = 0, slice = process.pid; tries < slices; tries++, slice++) {
    const first = low + (slice % slices) * size;
    const mine = await listen(first);
    mine?.unref();
    for (let port = first + 1; mine && port < first + size; port++) {
      const probe = await listen(port);
      if (!probe) continue;
      await new Promise((resolve) => probe.close(resolve));
      yield port;
    }
  }
}

const free = ports();

export async function freePort() {
  const { value } = await free.next(); // one after another, also where several ask at once
  if (!value) throw new Error(`no free port between ${low} and ${high} (FANMESH_TEST_PORTS)`);
  return value;
}
