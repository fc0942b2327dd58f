/** Entry point of the console: create the panels and connect them to each other. */

import { ConnectPanel } from './connect/connect-panel.js';
import { DevicesPanel } from './devices/devices-panel.js';
import { Credentials } from './lib/credentials.js';
import { byId } from './lib/dom.js';
import { loadStrings } from './lib/i18n.js';
import { LiveRegion } from './lib/live-region.js';
import { Navigation } from './lib/navigation.js';
import { OnDemand } from './lib/on-demand.js';
import { readPageData } from './lib/page-data.js';
import { Permissions } from './lib/permissions.js';
import { bindPreferences } from './lib/preferences.js';
import { StalenessBanner } from './lib/staleness-banner.js';
import { isStored } from './lib/storage.js';
import { showMoreTabs } from './lib/tab-row.js';
import { LogBuffer } from './log/log-buffer.js';
import { NotificationsPanel } from './notifications/notifications-panel.js';
import { UserHistories } from './notifications/user-histories.js';
import { OverviewPanel } from './overview/overview-panel.js';
import { StatusPoller } from './overview/status-poller.js';

const { dev, login } = readPageData();
const liveRegion = new LiveRegion(byId('live-region'));
/** @param {string} text */
const announce = (text) => liveRegion.announce(text);
const credentials = new Credentials({ token: dev?.tokens[0]?.token, apiKey: dev?.api_key });
const permissions = new Permissions(credentials);
const lines = new LogBuffer();
const devices = new DevicesPanel(/** @returns {string} */ () => connect.owner.tenant_id);
const stalenessBanner = new StalenessBanner(devices, announce);
const histories = new UserHistories(/** @returns {string} */ () => connect.owner.user_id);
const notifications = new NotificationsPanel({ ack: (id) => connect.acknowledge(id), credentials, permissions, histories });
const connect = new ConnectPanel({
  credentials, permissions, histories, announce, attach,
  log: (socket, { kind, text }) => lines.add({ at: Date.now(), socket, kind, text }),
});
const overview = new OverviewPanel(connect.cards, credentials, permissions, announce);
const verdictStyles = new URL('verdict.css', import.meta.url).href;
const tokenInspector = new OnDemand(byId('token-inspector'), async () => {
  const [{ TokenInspectorPanel }, { DevApi }] = await Promise.all([
    import('./token-inspector/token-inspector-panel.js'), import('./lib/dev-api.js'), loadStrings(),
  ]);
  return new TokenInspectorPanel({ credentials, permissions, devApi: new DevApi(credentials), announce });
}, new URL('token-inspector/token-inspector.css', import.meta.url).href, verdictStyles);
const log = new OnDemand(byId('log'), async () => {
  const [{ LogPanel }] = await Promise.all([import('./log/log-panel.js'), loadStrings()]);
  return new LogPanel(lines);
}, new URL('log/log.css', import.meta.url).href);
const inbox = new OnDemand(byId('inbox'), async () => {
  const [{ InboxPanel }, { InboxApi }] = await Promise.all([import('./inbox/inbox-panel.js'), import('./lib/inbox-api.js'), loadStrings()]);
  return new InboxPanel(new InboxApi(credentials), credentials);
}, new URL('inbox/inbox.css', import.meta.url).href);
const drills = new OnDemand(byId('drills'), async () => {
  const [{ DrillsPanel }, { DevApi }, { InboxApi }] = await Promise.all([
    import('./drills/drills-panel.js'), import('./lib/dev-api.js'), import('./lib/inbox-api.js'), loadStrings(),
  ]);
  return new DrillsPanel({ credentials, permissions, devApi: new DevApi(credentials), inboxApi: new InboxApi(credentials), userId: () => connect.owner.user_id });
}, new URL('drills/drills.css', import.meta.url).href, verdictStyles);

/**
 * Route the events of a new client to the panels.
 * @param {import('../hermes-client.js').HermesClient} client
 * @param {string} name  of the socket: notifications, tenant, device, combined or tenants
 */
function attach(client, name) {
  client.on('notification', (frame, text) => notifications.handleFrame(frame, text));
  client.on('broadcast', (frame, text) => notifications.handleFrame(frame, text));
  client.on('missed', (missed) => notifications.showMissed(missed));
  client.on('device', (frame, text) => devices.handleFrame(frame, text, name));
  client.on('presence', (frame) => devices.updatePresence(frame));
  stalenessBanner.observe(client, name);
}

const updateUser = () => {
  if (connect.owner.user_id) notifications.userId = connect.owner.user_id;
  histories.notifyChange();
};
credentials.addEventListener('change', updateUser);
updateUser();
if (login) {
  const [{ SignIn }, { SignInForm }] = await Promise.all([import('./lib/sign-in.js'), import('./connect/sign-in-form.js'), loadStrings()]);
  const signIn = new SignIn(login, credentials);
  new SignInForm(signIn, login.issuer);
  signIn.addEventListener('change', () => { if (signIn.signedIn) connect.connectAll(); });
  signIn.resume(); // before the address selects a panel
}
bindPreferences();
showMoreTabs();
byId('dev-badge').hidden = !dev;
byId('storage-banner').hidden = isStored;
new Navigation(new Map(Object.entries({ overview, connect, notifications, inbox, devices, 'token-inspector': tokenInspector, drills, log })));
if (dev || credentials.token) connect.connectAll(); // also after a reload with a stored token
new StatusPoller(credentials, permissions, (status) => overview.update(status)).run();
