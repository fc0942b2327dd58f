import { HermesClient, HermesHistory } from './hermes-client.js';

/**
 * Receives notifications, and draws those from before the reload too.
 *
 * @param {string} userId
 * @param {Pick<import('./hermes-client.js').Options, 'url' | 'getToken'>} options
 * @param {(items: import('./hermes-client.js').StoredNotification[]) => void} draw
 */
export function showHistory(userId, { url, getToken }, draw) {
  const history = new HermesHistory({ key: `app.notifications.${userId}`, max: 100 });
  const client = new HermesClient({ url, getToken, history });
  history.addEventListener('change', () => draw(history.items)); // newest first
  draw(history.items); // those from before the reload
  client.connect();
}
