// JWTs as backends make them, by Node's own crypto; and keys, as PEM, JWKS and secrets.
import crypto from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { within } from './wait.mjs';

export const secret = 'a secret of tests that has at least 32 bytes';

const hash = { HS256: 'sha256', RS256: 'sha256', ES256: 'sha256', HS512: 'sha512' };

export const part = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

// What `alg` asks for, over any header and claims (objects, or text as it is).
export function signed(header, claims, key, alg = header.alg) {
  const input = `${part(header)}.${part(claims)}`;
  let signature;
  if (alg.startsWith('HS')) signature = crypto.createHmac(hash[alg], key).update(input).digest();
  else signature = crypto.sign(hash[alg], Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' });
  return `${input}.${signature.toString('base64url')}`;
}

export const seconds = (from = 0) => Math.floor(Date.now() / 1000) + from;

// A good token by the secret above, unless something else is said.
export function token(claims = {}, { alg = 'HS256', key = secret, kid, header = {} } = {}) {
  return signed({ alg, typ: 'JWT', ...(kid ? { kid } : {}), ...header }, { iat: seconds(), exp: seconds(600), ...claims }, key);
}

// By way of PEM: Node 20 hangs for ever where a key that was just made is exported in the moment in which what made it is collected, since
// both lock one mutex.
export function keyPair(type, options) {
  const encoding = (kind) => ({ type: kind, format: 'pem' });
  const made = crypto.generateKeyPairSync(type, { ...options, publicKeyEncoding: encoding('spki'), privateKeyEncoding: encoding('pkcs8') });
  return { publicKey: crypto.createPublicKey(made.publicKey), privateKey: crypto.createPrivateKey(made.privateKey) };
}
export const rsa = (bits = 2048) => keyPair('rsa', { modulusLength: bits });
export const p256 = () => keyPair('ec', { namedCurve: 'P-256' });
export const pem = (key) => key.export({ type: 'spki', format: 'pem' });
export const jwk = (key, more = {}) => ({ ...key.export({ format: 'jwk' }), ...more });

// An identity provider: GET gives `keys`, or does what `behave(request, response)` does.
export class Provider {
  keys = [];
  asked = 0;
  behave = null;

  // port: a free one unless it is given; tls: { cert, key } for https.
  static async start(port, tls) {
    const p = new this();
    p.sockets = new Set();
    p.server = (tls ? https : http).createServer(tls ?? {}, (request, response) => {
      p.asked++;
      if (p.behave) return p.behave(request, response);
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ keys: p.keys }));
    });
    p.server.on('connection', (s) => {
      p.sockets.add(s);
      s.on('close', () => p.sockets.delete(s));
    });
    await new Promise((done, failed) => p.server.on('error', failed).listen(port ?? 0, '127.0.0.1', done));
    p.port = p.server.address().port;
    p.url = `${tls ? 'https' : 'http'}://127.0.0.1:${p.port}/keys`;
    return p;
  }

  async stop() {
    for (const s of this.sockets) s.destroy();
    await new Promise((done) => this.server.close(done));
  }
}

// Opens a WebSocket as no library would hide it: { socket } or { status, code, message }.
export async function attempt(WebSocket, url, { protocols, ...options } = {}) {
  const socket = new WebSocket(url, protocols, options);
  return within(30_000, `an answer of ${url.replace(/\?.*/, '')}`, new Promise((resolve) => {
    socket.on('error', (error) => resolve({ error }));
    socket.on('open', () => resolve({ socket, status: 101 }));
    socket.on('unexpected-response', (request, response) => {
      let text = '';
      response.on('data', (chunk) => (text += chunk)).on('end', () => {
        request.destroy();
        resolve({ status: response.statusCode, ...(text.startsWith('{') ? JSON.parse(text).error : {}) }); // a balancer's own answers are no JSON
      });
    });
  }));
}
