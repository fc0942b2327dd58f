/** Prints a token for a user, signed as your backend would: node sign.mjs USER_ID USERNAME TENANT_ID */

import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';

const LIFETIME_S = 600; // the client asks for the next token in time

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export function signToken(secret, { user_id, username, tenant_id }) {
  const now = Math.floor(Date.now() / 1000);
  const claims = { user_id, username, tenant_id, iat: now, exp: now + LIFETIME_S };
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

const { HERMES_JWT_SECRET_FILE = `${homedir()}/.local/state/hermes/jwt-secret` } = process.env;
const secret = readFileSync(HERMES_JWT_SECRET_FILE, 'utf8').replace(/\n$/, ''); // Hermes ignores a newline at the end
const [user_id, username, tenant_id] = process.argv.slice(2);
console.log(signToken(secret, { user_id, username, tenant_id }));
