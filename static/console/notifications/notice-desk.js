/** Where notifications arrive: toast, browser notification and history for each, and its acknowledgement back. */

import { BrowserNotices } from './browser-notices.js';
import { History } from './history.js';
import { HistoryList } from './history-list.js';
import { noticeOf } from './notification.js';
import { Toasts } from './toasts.js';

/**
 * @typedef {import('./notification.js').Notice} Notice
 * @typedef {import('../../hermes-client-types.js').Frame} Frame
 */

const IDS_REMEMBERED = 1_000; // more than two sockets can be apart

export class NoticeDesk {
  #history = new History();
  #toasts = new Toasts((notice) => this.acknowledge(notice));
  #browser = new BrowserNotices();
  /** @type {Set<string>} */
  #seen = new Set();
  #ack;

  /** @param {(id: string) => boolean} ack  sends it; false if no socket is open */
  constructor(ack) {
    this.#ack = ack;
    new HistoryList(this.#history, (notice) => this.acknowledge(notice));
  }

  /** @param {Frame} frame */
  take(frame) {
    const notice = noticeOf(frame);
    if (this.#isSecondCopy(notice)) return;
    this.#history.add(notice);
    this.#toasts.show(notice);
    this.#browser.show(notice);
  }

  /** The toast goes in any case; the history keeps what could not be sent. @param {Notice} notice */
  acknowledge(notice) {
    this.#toasts.remove(notice);
    if (this.#ack(notice.id)) this.#history.markAcked(notice);
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
