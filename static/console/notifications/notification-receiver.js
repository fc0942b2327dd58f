/** Show each received notification once and send its acknowledgement. */

import { textAt } from '../lib/json-text.js';
import { once } from '../lib/on-demand.js';
import { HistoryList } from './history-list.js';
import { notificationFrom } from './notification.js';
import { Toasts } from './toasts.js';

/**
 * @typedef {import('./notification.js').ConsoleNotification} ConsoleNotification
 * @typedef {import('./notification.js').NotificationFrame} NotificationFrame
 * @typedef {import('./notification.js').BroadcastFrame} BroadcastFrame
 * @typedef {import('../../hermes-client-types.js').Missed} Missed
 */

const TAG = 'hermes-notification:';
const IDS_REMEMBERED = 1_000; // two sockets deliver the same id within fewer messages

export class NotificationReceiver {
  /** Load what shows notifications of the browser, and the button that allows them. */
  loadBrowserNotifications = once(async () => new (await import('./browser-notifications.js')).BrowserNotifications());
  #toasts = new Toasts((notification) => this.acknowledge([notification]));
  #loadSummary = once(async () => (await import('./missed-summary.js')).createMissedSummary(this.#toasts, (notification) => this.#showByBrowser(notification)));
  #loadBadge = once(async () => new (await import('./unread-badge.js')).UnreadBadge());
  #hasBadge = false;
  #hasShown = false;
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
    histories.addEventListener('change', () => this.#update());
  }

  /**
   * Show a notification or broadcast. Those that were missed are in the history, and in the summary.
   * @param {NotificationFrame | BroadcastFrame} frame
   * @param {string} text  of the frame
   */
  handleFrame(frame, text) {
    const notification = notificationFrom(frame);
    if (this.#isDuplicate(notification)) return;
    this.#keepDataText(notification, frame, text);
    if (frame.replayed) return;
    this.#toasts.show(notification);
    this.#showByBrowser({ ...notification, tag: TAG + notification.id });
  }

  /** Show one message for all that was missed. @param {Missed} missed */
  showMissed(missed) { this.#loadSummary().then((summary) => summary.add(missed), ignore); }

  /** @param {import('./browser-notifications.js').Shown} notification */
  #showByBrowser(notification) {
    this.#hasShown = true;
    this.loadBrowserNotifications().then((browser) => browser.show(notification), ignore);
  }

  /** Remove the toasts of what was acknowledged on any device, was withdrawn or has expired, and count the others. */
  #update() {
    const { items, unread } = this.#histories.current;
    const unacknowledged = new Set(items.filter(({ acked }) => !acked).map(({ id }) => String(id)));
    this.#toasts.keep((id) => unacknowledged.has(id));
    if (this.#hasShown) {
      const stays = (/** @type {string} */ tag) => !tag.startsWith(TAG) || unacknowledged.has(tag.slice(TAG.length));
      this.loadBrowserNotifications().then((browser) => browser.keep(stays), ignore);
    }
    if (!unread && !this.#hasBadge) return;
    this.#hasBadge = true;
    this.#loadBadge().then((badge) => badge.show(this.#histories.current.unread), ignore);
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
    const ids = new Set(notifications.map(({ id }) => id));
    this.#toasts.keep((id) => !ids.has(id));
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

/** Hermes is not reachable: the next notification loads it again. */
function ignore() {}
