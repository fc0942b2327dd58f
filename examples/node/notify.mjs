/** Sends a notification: notify.mjs USER_ID TITLE MESSAGE [info|warning|error|success]. */

import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';

const {
  HERMES_API_URL = 'http://127.0.0.1:8080',
  HERMES_API_KEY_FILE = `${homedir()}/.local/state/hermes/api-key`,
} = process.env;
const [user_id, title, message, type = 'info'] = process.argv.slice(2);

const [key] = (await readFile(HERMES_API_KEY_FILE, 'utf8')).split('\n');
const response = await fetch(`${HERMES_API_URL}/notify`, {
  method: 'POST',
  headers: { 'Content-Type': 'application/json', 'X-API-Key': key },
  body: JSON.stringify({ user_id, title, message, type }),
  signal: AbortSignal.timeout(10_000),
});
console.log(await response.text());
if (!response.ok) process.exitCode = 1;
