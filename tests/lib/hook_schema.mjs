// docs/hooks.schema.json, compiled: what a node posts to a backend, and what it takes as an answer.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import http from 'node:http';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import { root } from './node.mjs';

const require = createRequire(path.join(root, 'tests/system/package.json'));
const Ajv = require('ajv/dist/2020.js').default;
const schema = JSON.parse(fs.readFileSync(path.join(root, 'docs/hooks.schema.json'), 'utf8'));
const ajv = new Ajv({ strict: true, strictRequired: false, strictTypes: false, allowUnionTypes: true });
const validate = ajv.compile(schema);
const answers = Object.fromEntries(['connect', 'join', 'push'].map((event) => [event, ajv.compile({ $ref: `${schema.$id}#/$defs/answer_to_${event}` })]));

// Whether a request's body is one that a node may send.
export const isRequest = (body) => validate(body);
export function checkRequest(body) {
  assert.ok(validate(body), `a request that docs/hooks.schema.json does not describe: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(body).slice(0, 500)}`);
}
// Whether an answer to a question of this event is one that a node takes.
export const isAnswer = (event, answer) => answers[event](answer);

// Stands before a backend on a port, and checks all that passes. Its own port, and what it has seen: [event, answer].
export async function checked(t, port) {
  const it = { seen: [], failures: [] };
  const server = http.createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const text = Buffer.concat(chunks);
    const { host, connection, ...headers } = request.headers;
    // A connection of its own each time: one that is kept may be closed by the backend in the moment in which it is used.
    const answer = await fetch(`http://127.0.0.1:${port}${request.url}`, { method: 'POST', headers: { ...headers, connection: 'close' }, body: text });
    const said = await answer.text();
    try {
      const body = JSON.parse(text);
      checkRequest(body);
      it.seen.push(...[body].flat().map(({ event }) => event));
      if (!Array.isArray(body)) assert.ok(isAnswer(body.event, JSON.parse(said)), `its answer to ${body.event}: ${said}`);
    } catch (error) {
      it.failures.push(error);
    }
    response.writeHead(answer.status, { 'content-type': 'application/json' }).end(said);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  it.port = server.address().port;
  return it;
}
