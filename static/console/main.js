/** Entry point of the console: create the panels and connect them to each other. */

import { ConnectPanel } from './connect/connect-panel.js';
import { DevicesPanel } from './devices/devices-panel.js';
import { DrillsPanel } from './drills/drills-panel.js';
import { Credentials } from './lib/credentials.js';
import { DevApi } from './lib/dev-api.js';
import { byId } from './lib/dom.js';
import { LiveRegion } from './lib/live-region.js';
import { Navigation } from './lib/navigation.js';
import { readPageData } from './lib/page-data.js';
import { Permissions } from './lib/permissions.js';
import { bindPreferences } from './lib/preferences.js';
import { StalenessBanner } from './lib/staleness-banner.js';
import { isStored } from './lib/storage.js';
import { LogPanel } from './log/log-panel.js';
import { NotificationsPanel } from './notifications/notifications-panel.js';
import { UserHistories } from './notifications/user-histories.js';
import { OverviewPanel } from './overview/overview-panel.js';
import { StatusPoller } from './overview/status-poller.js';
import { TokenInspectorPanel } from './token-inspector/token-inspector-panel.js';

const { dev } = readPageData();
const liveRegion = new LiveRegion(byId('live-region'));
/** @param {string} text */
const announce = (text) => liveRegion.announce(text);
const credentials = new Credentials({ token: dev?.tokens[0]?.token, apiKey: dev?.api_key });
const permissions = new Permissions(credentials);
const log = new LogPanel();
const devices = new DevicesPanel();
const stalenessBanner = new StalenessBanner(devices, announce);
const histories = new UserHistories(/** @returns {string} */ () => connect.owner.user_id);
const notifications = new NotificationsPanel({ ack: (id) => connect.acknowledge(id), credentials, permissions, histories });
const connect = new ConnectPanel({
  credentials, permissions, histories, announce, attach,
  log: (socket, { kind, text }) => log.add({ at: Date.now(), socket, kind, text }),
});
const overview = new OverviewPanel(connect.cards, permissions, announce);
const devApi = new DevApi(credentials);
const tokenInspector = new TokenInspectorPanel({ credentials, permissions, devApi, announce });
new DrillsPanel({ credentials, permissions, devApi, userId: () => connect.owner.user_id });

/**
 * Route the events of a new client to the panels.
 * @param {import('../hermes-client.js').HermesClient} client
 * @param {string} name  of the socket: notifications, tenant, device or combined
 */
function attach(client, name) {
  client.on('notification', (frame) => notifications.handleFrame(frame));
  client.on('broadcast', (frame) => notifications.handleFrame(frame));
  client.on('device', (frame) => devices.handleFrame(frame, name));
  client.on('presence', (frame) => devices.updatePresence(frame));
  stalenessBanner.observe(client, name);
}

const updateUser = () => {
  if (connect.owner.user_id) notifications.userId = connect.owner.user_id;
  histories.notifyChange();
};
credentials.addEventListener('change', updateUser);
updateUser();
bindPreferences();
byId('dev-badge').hidden = !dev;
byId('storage-banner').hidden = isStored;
new Navigation(new Map(Object.entries({ overview, connect, notifications, devices, 'token-inspector': tokenInspector, drills: {}, log })));
if (dev || credentials.token) connect.connectAll(); // also after a reload with a stored token
new StatusPoller(credentials, permissions, (status) => overview.update(status)).run();
