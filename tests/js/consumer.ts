/** A TypeScript program that uses the generated declarations; it must compile, it is not run. */

import { claimsOf, HermesClient, HermesHistory, type Frame, type Options, type State } from '../../static/hermes-client.js';

const history = new HermesHistory({ key: 'app.history', max: 50 });
const options: Options = {
  url: 'wss://gateway/ws/notifications',
  getToken: async (reason) => (reason === 'refused' ? null : 'token'),
  history,
  log: ({ kind, text }) => console.debug(kind, text),
};
const client = new HermesClient(options);
const off: () => void = client.on('notification', (frame: Frame) => client.ack(String(frame.id)));
client.on('state', ({ state, waitMs }) => { const known: State = state; console.log(known, waitMs.toFixed()); });
client.on('refreshed', ({ expires }) => console.log(expires?.toFixed()));
// @ts-expect-error: there is no such event
client.on('nonsense', () => undefined);
client.connect();
console.log(client.counts.duplicates, claimsOf('')?.exp, history.items.length);
off();
