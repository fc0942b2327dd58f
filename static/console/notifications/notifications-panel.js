/** The notifications panel: history, form, toasts and browser notifications. */

import { byId } from '../lib/dom.js';
import { loadStrings } from '../lib/i18n.js';
import { OnDemand } from '../lib/on-demand.js';
import { NotificationReceiver } from './notification-receiver.js';

/** @typedef {import('./notification.js').NotificationFrame} NotificationFrame */
/** @typedef {import('./notification.js').BroadcastFrame} BroadcastFrame */
/** @typedef {import('../../hermes-client-types.js').Missed} Missed */

export class NotificationsPanel {
  #receiver;
  #form;
  #userId = '';

  /**
   * @param {object} dependencies
   * @param {(id: string) => boolean} dependencies.ack
   * @param {import('../lib/credentials.js').Credentials} dependencies.credentials
   * @param {import('../lib/permissions.js').Permissions} dependencies.permissions
   * @param {import('./user-histories.js').UserHistories} dependencies.histories
   */
  constructor({ ack, credentials, permissions, histories }) {
    this.#receiver = new NotificationReceiver(histories, ack);
    this.#form = new OnDemand(byId('notify'), async () => {
      const [{ NotifyForm }] = await Promise.all([import('./notify-form.js'), this.#receiver.loadBrowserNotifications(), loadStrings()]);
      const form = new NotifyForm(credentials, permissions);
      form.userId = this.#userId;
      return form;
    }, new URL('sent.css', import.meta.url).href);
  }

  /** @param {string} userId */
  set userId(userId) {
    this.#userId = userId;
    if (this.#form.part) this.#form.part.userId = userId;
  }

  show() { this.#form.show('', ''); }

  hide() { this.#form.hide(); }

  /** @param {NotificationFrame | BroadcastFrame} frame @param {string} text  of the frame */
  handleFrame(frame, text) { this.#receiver.handleFrame(frame, text); }

  /** @param {Missed} missed */
  showMissed(missed) { this.#receiver.showMissed(missed); }
}
