/** Where notifications arrive: toast and browser notification for each, and its acknowledgement back. */

import { BrowserNotices } from './browser-notices.js';
import { HistoryList } from './history-list.js';
import { noticeOf } from './notification.js';
import { Toasts } from './toasts.js';

/**
 * @typedef {import('./notification.js').Notice} Notice
 * @typedef {import('../../hermes-client.js').Frame} Frame
 */

const IDS_REMEMBERED = 1_000; // more than two sockets can be apart

export class NoticeDesk {
  #toasts = new Toasts((notice) => this.acknowledge([notice]));
  #browser = new BrowserNotices();
  /** @type {Set<string>} */
  #seen = new Set();
  #ack;
  #list;

  /**
   * @param {import('./histories.js').Histories} histories  filled by the clients
   * @param {(id: string) => boolean} ack  sends it; false if no socket is open
   */
  constructor(histories, ack) {
    this.#ack = ack;
    this.#list = new HistoryList(histories, (notices) => this.acknowledge(notices));
  }

  /** @param {Frame} frame */
  take(frame) {
    const notice = noticeOf(frame);
    if (this.#isSecondCopy(notice)) return;
    this.#toasts.show(notice);
    this.#browser.show(notice);
  }

  /** The toasts go in any case; the history keeps what could not be sent. @param {Notice[]} notices */
  acknowledge(notices) {
    for (const notice of notices) this.#toasts.remove(notice);
    this.#list.tellSent(notices.every(({ id }) => this.#ack(id))); // where one cannot be sent, none can
  }

  /** The notifications socket and the legacy socket both bring it. @param {Notice} notice */
  #isSecondCopy({ id }) {
    if (!id) return false;
    if (this.#seen.has(id)) return true;
    this.#seen.add(id);
    if (this.#seen.size > IDS_REMEMBERED) this.#seen.delete(/** @type {string} */ (this.#seen.values().next().value));
    return false;
  }
}
