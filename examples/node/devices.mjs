import WebSocket from 'ws'; // Node 22 and later have one of their own
import { HermesClient } from './hermes-client.js';

const client = new HermesClient({
  url: 'ws://127.0.0.1:8080/ws/tenant/acme',
  getToken: () => process.env.HERMES_TOKEN ?? null,
  world: { WebSocket },
});
client.on('device', ({ device_id, series, data }) => console.log(device_id, series, data));
client.connect();
