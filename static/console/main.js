/** The console: makes the panels and wires them together. */

import { Announcer } from './announcer.js';
import { readBoot } from './boot.js';
import { ClinicPanel } from './clinic/clinic-panel.js';
import { ConnectPanel } from './connect/connect-panel.js';
import { Credentials } from './credentials.js';
import { DevDoors } from './dev-doors.js';
import { DevicesPanel } from './devices/devices-panel.js';
import { DrillsPanel } from './drills/drills-panel.js';
import { byId } from './element.js';
import { Feed } from './feed.js';
import { LogPanel } from './log/log-panel.js';
import { Navigation } from './navigation.js';
import { Histories } from './notifications/histories.js';
import { NotificationsPanel } from './notifications/notifications-panel.js';
import { NodeWatch } from './overview/node-watch.js';
import { OverviewPanel } from './overview/overview-panel.js';
import { offerPreferences } from './preferences.js';

const { dev } = readBoot();
const announcer = new Announcer(byId('announcer'));
/** @param {string} text */
const say = (text) => announcer.say(text);
const credentials = new Credentials({ token: dev?.tokens[0]?.token, apiKey: dev?.api_key });
const log = new LogPanel();
const devices = new DevicesPanel();
const feed = new Feed(devices, say);
const histories = new Histories(/** @returns {string} */ () => connect.owner.user_id);
const notifications = new NotificationsPanel({ ack: (id) => connect.acknowledge(id), credentials, histories });
const connect = new ConnectPanel({
  credentials, histories, say, attach,
  log: (socket, { kind, text }) => log.write({ at: Date.now(), socket, kind, text }),
});
const overview = new OverviewPanel(connect.cards, say);
const doors = new DevDoors(credentials);
const clinic = new ClinicPanel({ credentials, doors, say });
new DrillsPanel({ credentials, doors, say, userId: () => connect.owner.user_id });

/**
 * @param {import('../hermes-client.js').HermesClient} client
 * @param {string} name
 */
function attach(client, name) {
  client.on('notification', (frame) => notifications.take(frame));
  client.on('broadcast', (frame) => notifications.take(frame));
  client.on('device', (frame) => devices.take(frame, name));
  client.on('presence', (frame) => devices.showPresence(frame));
  feed.watch(client, name);
}

const turnToUser = () => {
  if (connect.owner.user_id) notifications.userId = connect.owner.user_id;
  histories.turn();
};
credentials.addEventListener('change', turnToUser);
turnToUser();
offerPreferences();
byId('dev-badge').hidden = !dev;
new Navigation(new Map(Object.entries({ overview, connect, notifications, devices, clinic, drills: {}, log })));
if (dev || credentials.token) connect.connectAll(); // a newcomer sees rows move without a click; a reload goes on
new NodeWatch(credentials, (finding) => overview.take(finding)).watch();
