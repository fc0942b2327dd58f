/** Notifications of the browser; the permission is requested only when the button is pressed. */

import { byId } from '../lib/dom.js';
import { t } from '../lib/i18n.js';
import { iconUrl } from './notification.js';

/**
 * @typedef {object} Shown
 * @property {string} tag  shown once, also by several tabs
 * @property {string} title
 * @property {string} message
 * @property {import('./notification.js').Severity} type
 */

const WORKER = 'sw.js'; // beside the page: its scope is the folder of its URL
const SHOWN_MAX = 200; // as many as in the history
const CLOSE_AFTER_MS = 200; // once for many changes

export class BrowserNotifications {
  #button = byId('browser-notifications-allow');
  #status = byId('browser-notifications-status');
  /** @type {Map<string, Notification>} by tag, of this page */
  #shown = new Map();
  /** @type {((tag: string) => boolean) | null} while others will be closed */
  #stays = null;
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
  async show({ tag, title, message, type }) {
    if (this.#permission !== 'granted') return;
    const options = { body: message, icon: iconUrl(type), tag };
    if (!this.#worker && this.#showByPage(title, options)) return;
    this.#worker ??= startWorker();
    try {
      await (await this.#worker).showNotification(title, options);
      this.#update();
    } catch {
      this.#worker = null; // the next notification tries again
      this.#status.textContent = t('notifications.browser.impossible');
    }
  }

  /** Close all but these, soon: they were read on another device, were withdrawn or have expired. @param {(tag: string) => boolean} stays */
  keep(stays) {
    if (!this.#stays) setTimeout(() => this.#closeOthers(), CLOSE_AFTER_MS);
    this.#stays = stays;
  }

  async #closeOthers() {
    const stays = this.#stays ?? (() => true);
    this.#stays = null;
    const ofWorker = this.#worker ? await this.#worker.then((worker) => worker.getNotifications(), () => []) : [];
    for (const each of [...this.#shown.values(), ...ofWorker]) if (!stays(each.tag)) each.close();
    for (const tag of this.#shown.keys()) if (!stays(tag)) this.#shown.delete(tag);
  }

  /**
   * False if only service workers may show notifications, as on Android.
   * @param {string} title
   * @param {NotificationOptions & {tag: string}} options
   */
  #showByPage(title, options) {
    try {
      const shown = new Notification(title, options);
      shown.onclick = () => window.focus();
      this.#shown.set(options.tag, shown);
      const [oldest] = this.#shown.keys();
      if (this.#shown.size > SHOWN_MAX) this.#shown.delete(oldest);
      return true;
    } catch {
      return false;
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

async function startWorker() {
  await navigator.serviceWorker.register(WORKER);
  return navigator.serviceWorker.ready;
}
