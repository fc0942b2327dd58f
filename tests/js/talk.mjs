/** Talks to a real Hermes as tests/test_client_js.py wants it: one line of JSON in for each thing to do, one out for what happens. */

import { createInterface } from 'node:readline';
import WebSocket from 'ws';
import { HermesClient } from '../../static/hermes-client.js';

const [url, ...tokens] = process.argv.slice(2);
const say = (what, detail) => console.log(JSON.stringify({ what, detail }));
const client = new HermesClient({
  url, refreshBeforeMs: 1_500, world: { WebSocket },
  getToken(reason) {
    say('asked', reason);
    return tokens.shift() ?? null;
  },
});
for (const event of ['notification', 'refreshed', 'error', 'rtt']) client.on(event, (detail) => say(event, detail));
client.on('state', ({ state }) => say('state', state));
createInterface({ input: process.stdin }).on('line', (id) => say('acked', client.ack(id))).on('close', () => client.close());
client.connect();
