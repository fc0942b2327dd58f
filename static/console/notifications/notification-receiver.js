/** Show each received notification once and send its acknowledgement. */

import { textAt } from '../lib/json-text.js';
import { BrowserNotifications } from './browser-notifications.js';
import { HistoryList } from './history-list.js';
import { notificationFrom } from './notification.js';
import { Toasts } from './toasts.js';

/**
 * @typedef {import('./notification.js').ConsoleNotification} ConsoleNotification
 * @typedef {import('./notification.js').NotificationFrame} NotificationFrame
 * @typedef {import('./notification.js').BroadcastFrame} BroadcastFrame
 */

const IDS_REMEMBERED = 1_000; // two sockets deliver the same id within fewer messages

export class NotificationReceiver {
  #toasts = new Toasts((notification) => this.acknowledge([notification]));
  #browser = new BrowserNotifications();
  /** @type {Set<string>} */
  #seen = new Set();
  #histories;
  #ack;
  #list;

  /**
   * @param {import('./user-histories.js').UserHistories} histories  the clients add to them
   * @param {(id: string) => boolean} ack  send an acknowledgement; false if no socket is open
   */
  constructor(histories, ack) {
    this.#histories = histories;
    this.#ack = ack;
    this.#list = new HistoryList(histories, (notifications) => this.acknowledge(notifications));
  }

  /** Show a notification or broadcast. @param {NotificationFrame | BroadcastFrame} frame @param {string} text  of the frame */
  handleFrame(frame, text) {
    const notification = notificationFrom(frame);
    if (this.#isDuplicate(notification)) return;
    this.#keepDataText(notification, frame, text);
    this.#toasts.show(notification);
    this.#browser.show(notification);
  }

  /**
   * Keep the text of `data` in the history if parsing has changed it: 1.10 is 1.1 then.
   * @param {ConsoleNotification} notification
   * @param {NotificationFrame | BroadcastFrame} frame
   * @param {string} text  of the frame
   */
  #keepDataText({ id }, { data }, text) {
    const dataText = textAt(text, ['data']);
    if (dataText && dataText !== JSON.stringify(data)) this.#histories.current.mark(id, { data_text: dataText });
  }

  /** Remove the toasts and send the acknowledgements. @param {ConsoleNotification[]} notifications */
  acknowledge(notifications) {
    for (const notification of notifications) this.#toasts.remove(notification);
    this.#list.showAckResult(notifications.every(({ id }) => this.#ack(id))); // if one fails, all others would too
  }

  /** Whether it came before: two of the four sockets deliver it. @param {ConsoleNotification} notification */
  #isDuplicate({ id }) {
    if (!id) return false;
    if (this.#seen.has(id)) return true;
    this.#seen.add(id);
    if (this.#seen.size > IDS_REMEMBERED) this.#seen.delete(/** @type {string} */ (this.#seen.values().next().value));
    return false;
  }
}
