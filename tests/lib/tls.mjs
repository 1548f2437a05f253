// TLS for tests: a certificate of its own for 127.0.0.1, and a door that takes TLS off before a server that has none.
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import { workFolder } from './node.mjs';

export function makeCertificate() {
  const folder = workFolder();
  const [keyFile, certFile] = ['key.pem', 'cert.pem'].map((name) => path.join(folder, name));
  const made = spawnSync('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=test', '-addext',
    'subjectAltName=IP:127.0.0.1', '-keyout', keyFile, '-out', certFile,
  ]);
  if (made.status !== 0) throw new Error(`openssl: ${made.stderr}`);
  return { certFile, key: fs.readFileSync(keyFile), cert: fs.readFileSync(certFile) };
}

export async function startDoor(t, { key, cert }, port) {
  const sockets = new Set();
  const door = tls.createServer({ key, cert }, (outside) => {
    const inside = net.connect(port, '127.0.0.1');
    for (const [from, to] of [[outside, inside], [inside, outside]]) {
      sockets.add(from);
      from.on('error', () => to.destroy()).on('close', () => sockets.delete(from) && to.destroy());
      from.pipe(to);
    }
  });
  door.on('tlsClientError', () => {});
  door.listen(0, '127.0.0.1');
  await once(door, 'listening');
  t.after(() => {
    door.close();
    for (const socket of sockets) socket.destroy();
  });
  return door.address().port;
}
