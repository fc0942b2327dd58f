/** A TypeScript program that uses the generated declarations; it must compile, it is not run. */

import {
  claimsOf, HermesClient, HermesHistory, membersOf, type DeviceFrame, type Frame, type NotificationFrame, type Options, type State,
} from '../../static/hermes-client.js';

const history = new HermesHistory<{ pinned: boolean }>({ key: 'app.history', max: 50 });
const options: Options = {
  url: 'wss://gateway/ws/notifications',
  getToken: async (reason, signal) => (reason === 'refused' || signal.aborted ? null : 'token'),
  history,
  log: ({ kind, text }) => console.debug(kind, text),
};
const client = new HermesClient(options);
const off: () => void = client.on('notification', (frame: NotificationFrame) => client.ack(frame.id));
client.on('notification', ({ title, message, type, timestamp, data }) => console.log(title.trim(), message, type, timestamp.toFixed(), data?.any.thing));
client.on('broadcast', ({ tenant_id, title }) => console.log(tenant_id.trim(), title.trim()));
client.on('device', ({ device_id, series, data, snapshot, timestamp }) => console.log(device_id, series, data.value, snapshot, timestamp?.toFixed()));
client.on('presence', ({ device_id, online, since }) => console.log(device_id, online === null, since?.toFixed()));
client.on('state', ({ state, waitMs }) => { const known: State = state; console.log(known, waitMs.toFixed()); });
client.on('device', (frame, text) => console.log(frame.device_id, new Map(membersOf(text)).get('data')?.length));
client.on('refreshed', ({ expires }) => console.log(expires?.toFixed()));
client.on('resumed', ({ epoch, from, to, gap, unread }) => console.log(epoch.trim(), from + to + unread, gap === true));
client.on('missed', ({ count, gap }) => console.log(count.toFixed(), gap === true));
client.on('acked', ({ notification_id, upto, acked_at }) => console.log(notification_id?.trim(), upto?.toFixed(), acked_at.toFixed()));
client.on('withdrawn', ({ notification_id, replayed }) => console.log(notification_id.trim(), replayed === true));
client.on('notification', ({ seq, expires, priority, replaces, replayed }) => console.log(seq?.toFixed(), expires?.toFixed(), priority, replaces?.trim(), replayed));

/** `channel` and `action` narrow a frame to its kind. */
function wordsOf(frame: Frame): string {
  if (frame.channel === 'status') return frame.mqtt === undefined ? `${frame.device_id.trim()} ${frame.online}` : `${frame.mqtt} ${frame.since.toFixed()}`;
  if (frame.channel === 'device') return wordsOfDevice(frame);
  if (frame.channel) return `${frame.title.trim()} ${frame.channel === 'tenant' ? frame.tenant_id : ''}`;
  switch (frame.action) {
    case 'error': return `${frame.code}: ${frame.message}`;
    case 'refreshed': return String(frame.expires);
    case 'subscribed': return frame.devices.join();
    case 'pong': case 'replay_end': return frame.action;
    case 'resumed': return `${frame.epoch.trim()} ${frame.unread.toFixed()}`;
    case 'acked': case 'withdrawn': return `${frame.notification_id ?? ''} ${frame.seq.toFixed()}`;
  }
}
function wordsOfDevice({ topic, skipped = 0 }: DeviceFrame): string { return `${topic.trim()} ${skipped.toFixed()}`; }
client.on('frame', (frame) => console.log(wordsOf(frame)));

// @ts-expect-error: there is no such event
client.on('nonsense', () => undefined);
// @ts-expect-error: a notification has a title
client.on('notification', ({ titel }) => titel);
// @ts-expect-error: a notification has no device
client.on('notification', ({ device_id }) => device_id);
// @ts-expect-error: a frame is narrowed first
client.on('frame', ({ title }) => title);
// @ts-expect-error: there is no such kind of frame
client.on('frame', (frame) => frame.channel === 'devices');
// @ts-expect-error: the presence of a device may be unknown
client.on('presence', ({ online }) => { const known: boolean = online; return known; });
// @ts-expect-error: there is no such field
history.mark('id', { pined: true });

client.connect();
history.mark('id', { pinned: true, acked: true });
console.log(history.unread.toFixed());
console.log(client.counts.duplicates, claimsOf('')?.exp, history.items[0]?.title.trim(), history.items[0]?.pinned);
off();
