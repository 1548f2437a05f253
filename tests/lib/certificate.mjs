// A certificate of its own for a test, with its key: files in a folder. Made by openssl, valid for localhost and 127.0.0.1.
import { spawnSync } from 'node:child_process';
import path from 'node:path';

export function makeCertificate(folder, name = 'node') {
  const [cert, key] = [path.join(folder, `${name}.cert.pem`), path.join(folder, `${name}.key.pem`)];
  const made = spawnSync(
    'openssl',
    [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key, '-out', cert, '-days', '2',
      '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
    ],
    { encoding: 'utf8' },
  );
  if (made.status !== 0) throw new Error(`openssl req: ${made.stderr}`);
  return { cert, key };
}
