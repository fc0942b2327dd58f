/** Notifications of the browser; the permission is requested only when the button is pressed. */

import { byId } from '../lib/dom.js';
import { t } from '../lib/i18n.js';
import { iconUrl } from './notification.js';

/** @typedef {Pick<import('./notification.js').ConsoleNotification, 'id' | 'title' | 'message' | 'type'>} Shown */

const WORKER = 'sw.js'; // beside the page: its scope is the folder of its URL

export class BrowserNotifications {
  #button = byId('browser-notifications-allow');
  #status = byId('browser-notifications-status');
  /** @type {Promise<ServiceWorkerRegistration> | null} set when the page itself may not show a notification */
  #worker = null;

  constructor() {
    this.#button.addEventListener('click', async () => {
      await Notification.requestPermission();
      this.#update();
      if (this.#button.hidden) byId('history-ack-all').focus(); // the hidden button had the focus
    });
    this.#update();
  }

  /** @param {Shown} notification */
  async show({ id, title, message, type }) {
    if (this.#permission !== 'granted') return;
    // one id is shown once, also by several tabs
    const options = { body: message, icon: iconUrl(type), tag: `hermes-notification:${id}` };
    if (!this.#worker && showByPage(title, options)) return;
    this.#worker ??= startWorker();
    try {
      await (await this.#worker).showNotification(title, options);
      this.#update();
    } catch {
      this.#worker = null; // the next notification tries again
      this.#status.textContent = t('notifications.browser.impossible');
    }
  }

  get #permission() {
    if (!isSecureContext) return 'insecure';
    return 'Notification' in window ? Notification.permission : 'absent';
  }

  #update() {
    this.#button.hidden = this.#permission !== 'default';
    this.#status.textContent = this.#permission === 'default' ? '' : t(`notifications.browser.${this.#permission}`);
  }
}

/**
 * False if only service workers may show notifications, as on Android.
 * @param {string} title
 * @param {NotificationOptions} options
 */
function showByPage(title, options) {
  try {
    new Notification(title, options).onclick = () => window.focus();
    return true;
  } catch {
    return false;
  }
}

async function startWorker() {
  await navigator.serviceWorker.register(WORKER);
  return navigator.serviceWorker.ready;
}
