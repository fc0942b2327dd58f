/** What was sent while the page was closed: one message for all of it, and the number of unread ones. */

import { HermesClient, HermesHistory } from './hermes-client.js';

/**
 * @param {string} url  of `/ws/notifications` or `/ws`
 * @param {string} userId
 * @param {import('./hermes-client.js').Options['getToken']} getToken
 * @param {(text: string) => void} banner
 */
export function connect(url, userId, getToken, banner) {
  const history = new HermesHistory({ key: `app.notifications.${userId}` });
  const client = new HermesClient({ url, getToken, history });
  client.on('notification', ({ title, message, replayed }) => {
    if (!replayed) new Notification(title, { body: message });
  });
  client.on('missed', ({ count, gap }) => banner(`${count} new notifications${gap ? '; older ones may be missing' : ''}`));
  client.connect();

  const { title } = document;
  history.addEventListener('change', () => {
    document.title = history.unread ? `(${history.unread}) ${title}` : title;
    navigator.setAppBadge?.(history.unread).catch(() => {}); // on the icon of an installed page; 0 removes it
  });
}
