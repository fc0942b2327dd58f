/** Serves the page, and signs the tokens of its user: the part that your application's backend has. */

import { createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { homedir } from 'node:os';
import { build } from 'esbuild';

const {
  PORT = '3000',
  HERMES_API_URL = 'http://127.0.0.1:8080',
  HERMES_JWT_SECRET_FILE = `${homedir()}/.local/state/hermes/jwt-secret`,
} = process.env;
const TOKEN_LIFETIME_S = 600; // the client asks for the next token in time
const folder = import.meta.dirname;
const secret = (await readFile(HERMES_JWT_SECRET_FILE, 'utf8')).trim();

const bundle = await build({
  entryPoints: [`${folder}/src/main.tsx`],
  bundle: true,
  format: 'esm',
  jsx: 'automatic',
  write: false,
  define: { HERMES_URL: JSON.stringify(HERMES_API_URL) },
});

/** The user of this request. In your application: the one of the session, or null. */
const userOf = (request) => ({ user_id: '123', username: 'ana' });

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

function sign(claims) {
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

function myToken(request) {
  const user = userOf(request);
  if (!user) return { status: 401, body: 'log in first' };
  return { type: 'text/plain', body: sign({ ...user, exp: Math.floor(Date.now() / 1000) + TOKEN_LIFETIME_S }) };
}

const routes = {
  '/': async () => ({ type: 'text/html', body: await readFile(`${folder}/public/index.html`) }),
  '/main.js': () => ({ type: 'text/javascript', body: bundle.outputFiles[0].contents }),
  '/my-token': myToken,
};

const server = createServer(async (request, response) => {
  const route = request.method === 'GET' && routes[request.url];
  const { status = 200, type = 'text/plain', body } = route ? await route(request) : { status: 404, body: 'not found' };
  response.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body);
});
server.listen(Number(PORT), '127.0.0.1', () => console.log(`open http://127.0.0.1:${server.address().port}`));
