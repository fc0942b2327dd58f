/** The stored notifications of a user that were read so far, and what happened to them since. */

import { notificationFrom } from '../notifications/notification.js';

/**
 * @typedef {import('../lib/inbox-api.js').InboxFrame} InboxFrame
 * @typedef {import('../lib/inbox-api.js').InboxPage} InboxPage
 *
 * @typedef {object} InboxRow
 * @property {number} seq
 * @property {import('../notifications/notification.js').ConsoleNotification} notification
 * @property {number} priority
 * @property {number | null} expires  Unix ms, if the sender gave a time
 * @property {number | null} ackedAt  Unix ms
 * @property {boolean} withdrawn
 */

export const DEFAULT_PRIORITY = 3;
export const ROWS_MAX = 1_000; // in the page; the oldest ones make room

export class InboxRows {
  /** @type {Map<number, InboxRow>} by number, ascending */
  rows = new Map();
  unread = 0;
  /** Whether rows of this user are lost. */
  gap = false;
  /** Whether Hermes has more rows after the last one. */
  more = false;
  /** How many rows made room. */
  dropped = 0;
  epoch = '';
  #to = 0;

  /** Where the next page begins. */
  get position() { return this.epoch ? `${this.epoch}:${this.#to}` : '0'; }

  /** The highest number that was read. */
  get last() { return this.#to; }

  #clear() {
    this.rows.clear();
    [this.unread, this.gap, this.more, this.dropped, this.epoch, this.#to] = [0, false, false, 0, '', 0];
  }

  /** @param {InboxPage} page  that begins at `position` */
  add(page) {
    if (this.epoch && page.epoch !== this.epoch) this.#clear(); // another inbox: Hermes answers with all its rows
    this.epoch = page.epoch;
    this.#to = page.to;
    this.unread = page.unread;
    this.gap ||= page.gap;
    this.more = page.more;
    for (const frame of page.frames) this.#addFrame(frame);
    for (const seq of this.rows.keys()) {
      if (this.rows.size <= ROWS_MAX) break;
      this.rows.delete(seq);
      this.dropped += 1;
    }
  }

  /** @param {InboxFrame} frame */
  #addFrame(frame) {
    if (frame.action === 'acked') this.acknowledge(frame);
    else if (frame.action === 'withdrawn') for (const row of this.#find(({ notification }) => notification.id === frame.notification_id)) row.withdrawn = true;
    else if (!frame.action) {
      this.rows.set(frame.seq, {
        seq: frame.seq, notification: notificationFrom(/** @type {any} */ (frame)), priority: frame.priority ?? DEFAULT_PRIORITY,
        expires: frame.expires ?? null, ackedAt: frame.acked_at ?? null, withdrawn: false,
      });
    }
  }

  /**
   * Mark the rows with this id, or all up to this number.
   * @param {{notification_id?: string, upto?: number, acked_at?: number}} acknowledgement
   */
  acknowledge({ notification_id: id, upto, acked_at: ackedAt = Date.now() }) {
    const isMeant = (/** @type {InboxRow} */ { seq, notification }) => (upto === undefined ? notification.id === id : seq <= upto);
    for (const row of this.#find(isMeant)) row.ackedAt ??= ackedAt; // the first one counts
  }

  /** @param {(row: InboxRow) => boolean} filter */
  #find(filter) { return [...this.rows.values()].filter(filter); }
}
