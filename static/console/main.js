/** The console: makes the parts and wires them together. */

import { Announcer } from './announcer.js';
import { readBoot } from './boot.js';
import { DeviceTable } from './device-table.js';
import { byId, make } from './element.js';
import { ErrorList } from './error-list.js';
import { Feed } from './feed.js';
import { GatewayLamps } from './gateway-lamps.js';
import { NoticeDesk } from './notice-desk.js';
import { NotifyForm } from './notify-form.js';
import { SocketCard } from './socket-card.js';
import { TokenField } from './token-field.js';

const { dev } = readBoot();
const announcer = new Announcer(byId('announcer'));
const errors = new ErrorList();
const devices = new DeviceTable();
const feed = new Feed(devices, (text) => announcer.say(text));
const token = new TokenField(dev?.tokens ?? []);
const form = new NotifyForm(dev?.api_key);
const desk = new NoticeDesk(acknowledge);
const cards = [...document.querySelectorAll('form.socket')].map((root) => (
  new SocketCard(/** @type {HTMLFormElement} */ (root), {
    token: () => token.value, attach, say: (text) => announcer.say(text),
  })));

/**
 * @param {import('../hermes-client.js').HermesClient} client
 * @param {string} name
 */
function attach(client, name) {
  client.on('notification', (frame) => desk.take(frame));
  client.on('broadcast', (frame) => desk.take(frame));
  client.on('device', (frame) => devices.take(frame, name));
  client.on('presence', (frame) => devices.showPresence(frame));
  client.on('error', ({ message }) => errors.add(name, message));
  feed.watch(client, name);
}

/** On the notifications socket, else on the legacy one. @param {string} id */
function acknowledge(id) {
  const sent = cards.some(({ name, client }) => ['notifications', 'legacy'].includes(name) && client?.ack(id));
  if (!sent) errors.add('acknowledge', 'not sent, for neither the notifications nor the legacy socket is open');
  return sent;
}

/** What the token says of its owner goes into the fields that ask for it. */
function fillIn() {
  const { user_id, tenant_id } = token.owner;
  if (user_id) form.userId = user_id;
  for (const card of cards) {
    if (card.name === 'tenant' && tenant_id) card.id = tenant_id;
    if (card.name === 'device' && dev?.devices.length) {
      card.id = dev.devices.find((id) => id.startsWith(tenant_id)) ?? dev.devices[0];
    }
  }
}

token.addEventListener('change', () => {
  fillIn();
  cards.filter(({ client }) => client).forEach((card) => card.connect()); // refused ones too: that is why it changed
});
byId('token').addEventListener('submit', (event) => {
  event.preventDefault();
  cards.filter(({ live }) => !live).forEach((card) => card.connect());
});
byId('disconnect-all').addEventListener('click', () => cards.forEach((card) => card.disconnect()));

fillIn();
if (dev) {
  byId('dev-badge').hidden = false;
  byId('device-ids').append(...dev.devices.map((value) => make('option', { value })));
  cards.forEach((card) => card.connect()); // a newcomer sees rows move without a click
}
new GatewayLamps((text) => announcer.say(text)).watch();
