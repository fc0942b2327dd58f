/** The list of past notifications: filter, export, acknowledge, clear. */

import { byId, find, make, makeButton, setText } from '../lib/dom.js';
import { formatTime } from '../lib/format-time.js';
import { formatNumber, t } from '../lib/i18n.js';
import { iconUrl, notificationFrom } from './notification.js';

/** @typedef {import('./notification.js').ConsoleNotification} ConsoleNotification */
/** @typedef {import('./notification.js').StoredNotification} StoredNotification */

export class HistoryList {
  #histories;
  #acknowledge;
  #paintPending = false;
  #day = '';
  /** @type {WeakMap<StoredNotification, HTMLElement>} a row is reused, so that it keeps focus and text selection */
  #rows = new WeakMap();
  #text = find(document, '#history-filter', HTMLInputElement);
  #type = find(document, '#history-type', HTMLSelectElement);
  #unackedOnly = find(document, '#history-open', HTMLInputElement);

  /**
   * @param {import('./user-histories.js').UserHistories} histories
   * @param {(notifications: ConsoleNotification[]) => void} acknowledge
   */
  constructor(histories, acknowledge) {
    this.#histories = histories;
    this.#acknowledge = acknowledge;
    for (const field of [this.#text, this.#type, this.#unackedOnly]) field.addEventListener('input', () => this.#paint());
    byId('history-export').addEventListener('click', () => this.#export());
    byId('history-ack-all').addEventListener('click', () => acknowledge(this.#filtered.filter(({ acked }) => !acked).map(notificationFrom)));
    byId('history-clear').addEventListener('click', () => this.#showClearQuestion(true));
    byId('history-clear-cancel').addEventListener('click', () => this.#showClearQuestion(false));
    byId('history-clear-confirm').addEventListener('click', () => {
      histories.current.clear();
      this.#showClearQuestion(false);
    });
    histories.addEventListener('change', () => this.#paintSoon());
  }

  /** Show an error if an acknowledgement could not be sent. @param {boolean} sent */
  showAckResult(sent) { setText(byId('history-error'), sent ? '' : t('connect.ack_not_sent')); }

  get #filtered() {
    const text = this.#text.value.trim().toLowerCase();
    return this.#histories.current.items.filter((frame) => {
      const { title, message, type, acked, id } = notificationFrom(frame);
      return (!this.#type.value || type === this.#type.value) && (!this.#unackedOnly.checked || !acked)
        && `${title}\n${message}\n${id}`.toLowerCase().includes(text);
    });
  }

  /** Show or hide the confirmation; part of the page, so that the keyboard focus is not lost. @param {boolean} asking */
  #showClearQuestion(asking) {
    byId('history-clear-question').hidden = !asking;
    byId('history-clear').hidden = asking;
    byId(asking ? 'history-clear-cancel' : 'history-clear').focus();
  }

  async #export() {
    const { download } = await import('../lib/download.js');
    download('hermes-notifications.json', 'application/json', `[\n  ${this.#filtered.map(toExactJson).join(',\n  ')}\n]\n`);
  }

  #paintSoon() {
    if (this.#paintPending) return;
    this.#paintPending = true;
    requestAnimationFrame(() => {
      this.#paintPending = false;
      this.#paint();
    });
  }

  #paint() {
    const { items, unread } = this.#histories.current;
    const filtered = this.#filtered;
    setText(byId('history-count'), formatNumber(items.length));
    const badge = byId('notifications-badge');
    badge.hidden = !unread;
    setText(badge, formatNumber(unread));
    byId('history-empty').hidden = items.length > 0;
    setText(byId('history-shown'), filtered.length === items.length ? '' : t('notifications.of', { n: formatNumber(filtered.length), total: formatNumber(items.length) }));
    this.#dropRowsOfPreviousDay();
    reconcile(byId('history'), filtered.map((frame) => this.#row(frame)));
  }

  /** Render the rows again after midnight, because times of today have no date. */
  #dropRowsOfPreviousDay() {
    const day = new Date().toDateString();
    if (day !== this.#day) this.#rows = new WeakMap();
    this.#day = day;
  }

  /** @param {StoredNotification} frame */
  #row(frame) {
    const row = this.#rows.get(frame) ?? this.#createRow(notificationFrom(frame));
    this.#rows.set(frame, row);
    return row;
  }

  /** @param {ConsoleNotification} notification */
  #createRow(notification) {
    const facts = [formatTime(notification.timestamp), notification.tenant && t('notifications.to_all', { tenant: notification.tenant }),
      notification.acked && t('notifications.acked')];
    return make('li', { 'data-type': notification.type, 'data-id': notification.id },
      make('img', { src: iconUrl(notification.type), alt: t(`type.${notification.type}`), width: '20', height: '20' }),
      make('div', {}, make('strong', {}, notification.title), make('p', {}, notification.message),
        make('small', {}, facts.filter(Boolean).join(' · '))),
      ...(notification.acked ? [] : [this.#button(notification)]));
  }

  /** @param {ConsoleNotification} notification */
  #button(notification) {
    const button = makeButton(t('notifications.ack'), () => this.#acknowledge([notification]));
    button.setAttribute('aria-label', t('notifications.ack_this', { title: notification.title }));
    return button;
  }
}

/** The JSON of a notification, with `data` as it was sent. @param {StoredNotification & {data_text?: string}} frame */
function toExactJson({ data_text: dataText, ...fields }) {
  const members = Object.entries(fields).map(([name, value]) => (
    `${JSON.stringify(name)}: ${name === 'data' && dataText ? dataText : JSON.stringify(value)}`));
  return `{${members.join(', ')}}`;
}

/**
 * Add and remove rows without moving the others: a moved row would lose the focus.
 * @param {HTMLElement} list
 * @param {HTMLElement[]} rows
 */
function reconcile(list, rows) {
  const before = [...list.children];
  const focused = before.findIndex((row) => row.contains(document.activeElement));
  const wanted = new Set(rows);
  for (const row of before) if (!wanted.has(/** @type {HTMLElement} */ (row))) row.remove();
  rows.forEach((row, index) => {
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  if (focused < 0 || before[focused].isConnected) return;
  const { id } = /** @type {HTMLElement} */ (before[focused]).dataset;
  const newIndex = rows.findIndex((row) => row.dataset.id === id); // another tab may replace every row
  focusNextButton(list, newIndex < 0 ? focused : newIndex);
}

/**
 * Move the focus to the next button, for users who acknowledge by keyboard.
 * @param {HTMLElement} list
 * @param {number} index
 */
function focusNextButton(list, index) {
  const buttons = [...list.children].slice(index).map((item) => item.querySelector('button'));
  (buttons.find(Boolean) ?? byId('history-clear')).focus();
}
