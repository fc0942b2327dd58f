/** The notifications' panel. */

import { NoticeDesk } from './notice-desk.js';
import { NotifyForm } from './notify-form.js';

/** @typedef {import('../../hermes-client-types.js').Frame} Frame */

export class NotificationsPanel {
  #desk;
  #form;

  /**
   * @param {HTMLElement} _root
   * @param {{ack: (id: string) => boolean, credentials: import('../credentials.js').Credentials, say: (text: string) => void}} surroundings
   */
  constructor(_root, { ack, credentials }) {
    this.#desk = new NoticeDesk(ack);
    this.#form = new NotifyForm(credentials);
  }

  /** @param {string} userId */
  set userId(userId) { this.#form.userId = userId; }

  /** @param {Frame} frame */
  take(frame) { this.#desk.take(frame); }

  show() {}

  hide() {}
}
