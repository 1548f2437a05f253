// Certificates of its own for a test, with their keys: files in a folder. Made by openssl; by themselves valid for localhost and 127.0.0.1.
import { spawnSync } from 'node:child_process';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';

function openssl(...args) {
  const made = spawnSync('openssl', args, { encoding: 'utf8' });
  if (made.status !== 0) throw new Error(`openssl ${args[0]}: ${made.stderr}`);
}

const filesOf = (folder, name) => ({ cert: path.join(folder, `${name}.cert.pem`), key: path.join(folder, `${name}.key.pem`) });
const newKey = (key) => ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-keyout', key];
const altNames = (names) => ['-addext', `subjectAltName=${names.map((name) => (/^[\d.]+$/.test(name) ? `IP:${name}` : `DNS:${name}`)).join(',')}`];

// Signed by itself; a second call with the same name replaces the files.
export function makeCertificate(folder, name = 'node', names = ['localhost', '127.0.0.1']) {
  const { cert, key } = filesOf(folder, name);
  openssl('req', '-x509', ...newKey(key), '-out', cert, '-days', '2', '-subj', `/CN=${names[0]}`, ...altNames(names));
  return { cert, key };
}

// What Chromium's --ignore-certificate-errors-spki-list takes: such a certificate is as good as one of a known authority.
export function keyHash(cert) {
  const key = new crypto.X509Certificate(fs.readFileSync(cert)).publicKey.export({ type: 'spki', format: 'der' });
  return crypto.createHash('sha256').update(key).digest('base64');
}

// Who signs others.
export function makeAuthority(folder, name = 'ca') {
  const { cert, key } = filesOf(folder, name);
  openssl('req', '-x509', ...newKey(key), '-out', cert, '-days', '2', '-subj', `/CN=${name}`);
  return { cert, key };
}

// Signed by an authority; days below 0: it is over already. usage: its extended key usage.
export function makeSigned(folder, name, authority, { days = 2, names = ['localhost', '127.0.0.1'], usage } = {}) {
  const { cert, key } = filesOf(folder, name);
  const request = path.join(folder, `${name}.request.pem`);
  openssl('req', '-new', ...newKey(key), '-out', request, '-subj', `/CN=${name}`, ...altNames(names), ...(usage ? ['-addext', `extendedKeyUsage=${usage}`] : []));
  openssl('x509', '-req', '-in', request, '-CA', authority.cert, '-CAkey', authority.key, '-days', String(days), '-copy_extensions', 'copy', '-out', cert);
  return { cert, key };
}
