/**
 * HermesClient in Node for tests/console: acknowledge each id on stdin, print each event as JSON.
 *
 * The time to refresh a token that is valid for long comes with the line "refresh".
 * With HISTORY_FILE it has a history in that file, and prints its entries after each change; with CLIENT it is that module.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import WebSocket from 'ws';

const { CLIENT = '../../static/hermes-client.js', HISTORY_FILE } = process.env;
const { HermesClient, HermesHistory } = await import(CLIENT);
const [url, ...tokens] = process.argv.slice(2);
const report = (event, detail) => console.log(JSON.stringify({ event, detail }));
const storage = {
  getItem: () => (existsSync(HISTORY_FILE) ? readFileSync(HISTORY_FILE, 'utf8') : null),
  setItem: (key, text) => writeFileSync(HISTORY_FILE, text),
};
const history = HISTORY_FILE ? new HermesHistory({ storage }) : undefined;
const LONG_MS = 600_000;
let refresh = () => {};
const world = { WebSocket, setTimeout: (run, ms) => (ms < LONG_MS ? setTimeout(run, ms) : void (refresh = run)) };
const client = new HermesClient({
  url, world, history,
  getToken(reason) {
    report('token-request', reason);
    return tokens.shift() ?? null;
  },
});
const EVENTS = ['frame', 'notification', 'resumed', 'missed', 'acked', 'withdrawn', 'refreshed', 'error', 'rtt'];
for (const event of EVENTS) client.on(event, (detail) => report(event, detail));
client.on('state', ({ state }) => report('state', state));
history?.addEventListener('change', () => report('history', history.items.map(({ id, acked = false }) => [id, acked])));
createInterface({ input: process.stdin })
  .on('line', (line) => (line === 'refresh' ? refresh() : report('acked-here', client.ack(line))))
  .on('close', () => client.close());
client.connect();
