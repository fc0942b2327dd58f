/** Notifications of the browser; the permission is requested only when the button is pressed. */

import { byId } from '../lib/dom.js';
import { t } from '../lib/i18n.js';
import { iconUrl } from './notification.js';

/** @typedef {import('./notification.js').ConsoleNotification} ConsoleNotification */

export class BrowserNotifications {
  #button = byId('browser-notifications-allow');
  #status = byId('browser-notifications-status');

  constructor() {
    this.#button.addEventListener('click', async () => {
      await Notification.requestPermission();
      this.#update();
      if (this.#button.hidden) byId('history-ack-all').focus(); // the hidden button had the focus
    });
    this.#update();
  }

  /** @param {ConsoleNotification} notification */
  show(notification) {
    if (this.#permission !== 'granted') return;
    try {
      new Notification(notification.title, {
        body: notification.message, icon: iconUrl(notification.type),
        tag: `hermes-notification:${notification.id}`, // one id is shown once, also by several tabs
      });
    } catch { // mobile browsers allow this only in service workers
      this.#status.textContent = t('notifications.browser.impossible');
    }
  }

  get #permission() { return 'Notification' in window && isSecureContext ? Notification.permission : 'absent'; }

  #update() {
    this.#button.hidden = this.#permission !== 'default';
    this.#status.textContent = this.#permission === 'default' ? '' : t(`notifications.browser.${this.#permission}`);
  }
}
