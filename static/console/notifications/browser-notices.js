/** The browser's own notifications. Permission is asked for only by the button. */

import { byId } from '../element.js';
import { t } from '../strings.js';
import { iconUrl } from './notification.js';

/** @typedef {import('./notification.js').Notice} Notice */

export class BrowserNotices {
  #button = byId('notices-allow');
  #words = byId('notices-words');

  constructor() {
    this.#button.addEventListener('click', async () => {
      await Notification.requestPermission();
      this.#tell();
      if (this.#button.hidden) byId('history-ack-all').focus(); // the button that has gone had it
    });
    this.#tell();
  }

  /** @param {Notice} notice */
  show(notice) {
    if (this.#permission !== 'granted') return;
    try {
      new Notification(notice.title, {
        body: notice.message, icon: iconUrl(notice.type), tag: 'hermes-notification',
      });
    } catch { // mobile browsers only let service workers do this
      this.#words.textContent = t('notifications.browser.impossible');
    }
  }

  get #permission() { return 'Notification' in window && isSecureContext ? Notification.permission : 'absent'; }

  #tell() {
    this.#button.hidden = this.#permission !== 'default';
    this.#words.textContent = this.#permission === 'default' ? '' : t(`notifications.browser.${this.#permission}`);
  }
}
