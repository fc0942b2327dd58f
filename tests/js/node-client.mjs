/** HermesClient in Node for tests/console/test_client_module.py: acknowledge each id on stdin, print each event as JSON. */

import { createInterface } from 'node:readline';
import WebSocket from 'ws';
import { HermesClient } from '../../static/hermes-client.js';

const [url, ...tokens] = process.argv.slice(2);
const report = (event, detail) => console.log(JSON.stringify({ event, detail }));
const client = new HermesClient({
  url, refreshBeforeMs: 1_500, world: { WebSocket },
  getToken(reason) {
    report('token-request', reason);
    return tokens.shift() ?? null;
  },
});
for (const event of ['notification', 'refreshed', 'error', 'rtt']) client.on(event, (detail) => report(event, detail));
client.on('state', ({ state }) => report('state', state));
createInterface({ input: process.stdin }).on('line', (id) => report('acked', client.ack(id))).on('close', () => client.close());
client.connect();
