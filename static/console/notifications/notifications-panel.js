/** The notifications panel: history, form, toasts and browser notifications. */

import { NotificationReceiver } from './notification-receiver.js';
import { NotifyForm } from './notify-form.js';

/** @typedef {import('./notification.js').NotificationFrame} NotificationFrame */
/** @typedef {import('./notification.js').BroadcastFrame} BroadcastFrame */

export class NotificationsPanel {
  #receiver;
  #form;

  /**
   * @param {object} dependencies
   * @param {(id: string) => boolean} dependencies.ack
   * @param {import('../lib/credentials.js').Credentials} dependencies.credentials
   * @param {import('../lib/permissions.js').Permissions} dependencies.permissions
   * @param {import('./user-histories.js').UserHistories} dependencies.histories
   */
  constructor({ ack, credentials, permissions, histories }) {
    this.#receiver = new NotificationReceiver(histories, ack);
    this.#form = new NotifyForm(credentials, permissions);
  }

  /** @param {string} userId */
  set userId(userId) { this.#form.userId = userId; }

  /** @param {NotificationFrame | BroadcastFrame} frame */
  handleFrame(frame) { this.#receiver.handleFrame(frame); }
}
