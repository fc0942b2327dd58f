/** Prints the notifications of one user; hermes-client.js reconnects when the connection ends. */

import { exec } from 'node:child_process';
import { inspect, promisify } from 'node:util';
import WebSocket from 'ws';
import { HermesClient } from '../../static/hermes-client.js';

const { HERMES_API_URL = 'http://127.0.0.1:8080', HERMES_TOKEN_COMMAND = 'hermes token --user 123' } = process.env;
const run = promisify(exec);

const client = new HermesClient({
  url: `${HERMES_API_URL}/ws/notifications`,
  getToken: async () => (await run(HERMES_TOKEN_COMMAND, { timeout: 10_000 })).stdout.trim() || null,
  retryRefusedMs: 0, // a rejected token ends this program
  world: { WebSocket }, // Node has one of its own from version 22 on
});

client.on('notification', ({ id, type, title, message }) => {
  // inspect() escapes line feeds and terminal controls
  console.log(`${type} ${inspect(title)}: ${inspect(message)}`);
  client.ack(id);
});
let connected = false;
client.on('rtt', () => { // the answer to the first ping: an open socket may still be rejected
  if (!connected) console.error('connected');
  connected = true;
});
client.on('state', ({ state, close }) => {
  if (state !== 'open') connected = false;
  if (state === 'refused') {
    console.error(`rejected: ${close?.reason}`);
    process.exitCode = 1; // nothing is left to wait for, so Node ends
  }
});
client.on('error', ({ message }) => console.error(message)); // among others, why a connection ended

process.once('SIGINT', () => client.close());
process.once('SIGTERM', () => client.close());
client.connect();
