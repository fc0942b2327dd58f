/** The notifications: the history, the form, and what pops up anywhere in the page. */

import { NoticeDesk } from './notice-desk.js';
import { NotifyForm } from './notify-form.js';

/** @typedef {import('../../hermes-client.js').Frame} Frame */

export class NotificationsPanel {
  #desk;
  #form;

  /**
   * @param {object} surroundings
   * @param {(id: string) => boolean} surroundings.ack
   * @param {import('../credentials.js').Credentials} surroundings.credentials
   * @param {import('./histories.js').Histories} surroundings.histories
   */
  constructor({ ack, credentials, histories }) {
    this.#desk = new NoticeDesk(histories, ack);
    this.#form = new NotifyForm(credentials);
  }

  /** @param {string} userId */
  set userId(userId) { this.#form.userId = userId; }

  /** @param {Frame} frame */
  take(frame) { this.#desk.take(frame); }
}
