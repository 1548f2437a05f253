// Free ports on loopback. A node is restarted on the ports that it had, so they are chosen here and not by the system.
// Test files run in parallel as processes of their own: each takes a slice of the range by its process id, and every port is
// tried before it is given away.
import net from 'node:net';

const [low, high] = (process.env.FANMESH_TEST_PORTS ?? '20000-29999').split('-').map(Number);
const slice = 50;
const slices = Math.max(1, Math.floor((high - low + 1) / slice));
let next = 0;

function isFree(port) {
  return new Promise((resolve) => {
    const probe = net.createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

export async function freePort() {
  for (let tries = 0; tries < high - low; tries++) {
    const port = low + (((process.pid % slices) * slice + next++) % (high - low + 1));
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port between ${low} and ${high} (FANMESH_TEST_PORTS)`);
}
