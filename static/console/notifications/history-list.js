/** The history, shown: searched, filtered, exported, acknowledged, cleared. */

import { download } from '../download.js';
import { byId, find, make, makeButton, setText } from '../element.js';
import { number, t } from '../strings.js';
import { clockWords } from '../time-words.js';
import { iconUrl, noticeOf } from './notification.js';

/** @typedef {import('./notification.js').Notice} Notice */
/** @typedef {import('../../hermes-client.js').Frame} Frame */

export class HistoryList {
  #histories;
  #acknowledge;
  #painting = false;
  #day = '';
  /** @type {WeakMap<Frame, HTMLElement>} a row stays as long as its frame, and with it focus, selection and place */
  #rows = new WeakMap();
  #text = find(document, '#history-filter', HTMLInputElement);
  #type = find(document, '#history-type', HTMLSelectElement);
  #open = find(document, '#history-open', HTMLInputElement);

  /**
   * @param {import('./histories.js').Histories} histories
   * @param {(notices: Notice[]) => void} acknowledge
   */
  constructor(histories, acknowledge) {
    this.#histories = histories;
    this.#acknowledge = acknowledge;
    for (const field of [this.#text, this.#type, this.#open]) field.addEventListener('input', () => this.#paint());
    byId('history-export').addEventListener('click', () => this.#export());
    byId('history-ack-all').addEventListener('click', () => acknowledge(this.#chosen.filter(({ acked }) => !acked).map(noticeOf)));
    byId('history-clear').addEventListener('click', () => this.#ask(true));
    byId('history-keep').addEventListener('click', () => this.#ask(false));
    byId('history-really').addEventListener('click', () => {
      histories.current.clear();
      this.#ask(false);
    });
    histories.addEventListener('change', () => this.#paintSoon());
  }

  /** Beside the buttons that were pressed. @param {boolean} sent */
  tellSent(sent) { setText(byId('history-fault'), sent ? '' : t('connect.ack_not_sent')); }

  get #chosen() {
    const text = this.#text.value.trim().toLowerCase();
    return this.#histories.current.items.filter((frame) => {
      const { title, message, type, acked, id } = noticeOf(frame);
      return (!this.#type.value || type === this.#type.value) && (!this.#open.checked || !acked)
        && `${title}\n${message}\n${id}`.toLowerCase().includes(text);
    });
  }

  /** Before everything goes; in the page, where a keyboard stays. @param {boolean} asking */
  #ask(asking) {
    byId('history-sure').hidden = !asking;
    byId('history-clear').hidden = asking;
    byId(asking ? 'history-keep' : 'history-clear').focus();
  }

  #export() {
    download('hermes-notifications.json', 'application/json', JSON.stringify(this.#chosen, null, 2));
  }

  #paintSoon() {
    if (this.#painting) return;
    this.#painting = true;
    requestAnimationFrame(() => {
      this.#painting = false;
      this.#paint();
    });
  }

  #paint() {
    const { items } = this.#histories.current;
    const open = items.filter(({ acked }) => !acked).length;
    const chosen = this.#chosen;
    setText(byId('history-count'), number(items.length));
    const badge = byId('notifications-badge');
    badge.hidden = !open;
    setText(badge, number(open));
    byId('history-empty').hidden = items.length > 0;
    setText(byId('history-shown'), chosen.length === items.length ? '' : t('notifications.of', { n: number(chosen.length), total: number(items.length) }));
    this.#forgetRowsOfYesterday();
    arrange(byId('history'), chosen.map((frame) => this.#row(frame)));
  }

  /** Their times say no day. */
  #forgetRowsOfYesterday() {
    const day = new Date().toDateString();
    if (day !== this.#day) this.#rows = new WeakMap();
    this.#day = day;
  }

  /** @param {Frame} frame */
  #row(frame) {
    const row = this.#rows.get(frame) ?? this.#item(noticeOf(frame));
    this.#rows.set(frame, row);
    return row;
  }

  /** @param {Notice} notice */
  #item(notice) {
    const facts = [clockWords(notice.timestamp), notice.tenant && t('notifications.to_all', { tenant: notice.tenant }),
      notice.acked && t('notifications.acked')];
    return make('li', { 'data-type': notice.type, 'data-id': notice.id },
      make('img', { src: iconUrl(notice.type), alt: t(`type.${notice.type}`), width: '20', height: '20' }),
      make('div', {}, make('strong', {}, notice.title), make('p', {}, notice.message),
        make('small', {}, facts.filter(Boolean).join(' · '))),
      ...(notice.acked ? [] : [this.#button(notice)]));
  }

  /** @param {Notice} notice */
  #button(notice) {
    const button = makeButton(t('notifications.ack'), () => this.#acknowledge([notice]));
    button.setAttribute('aria-label', t('notifications.ack_this', { title: notice.title }));
    return button;
  }
}

/**
 * Touches only what is new or gone: a row that is moved would lose the focus.
 * @param {HTMLElement} list
 * @param {HTMLElement[]} rows
 */
function arrange(list, rows) {
  const before = [...list.children];
  const place = before.findIndex((row) => row.contains(document.activeElement));
  const wanted = new Set(rows);
  for (const row of before) if (!wanted.has(/** @type {HTMLElement} */ (row))) row.remove();
  rows.forEach((row, index) => {
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  if (place < 0 || before[place].isConnected) return;
  const { id } = /** @type {HTMLElement} */ (before[place]).dataset;
  const again = rows.findIndex((row) => row.dataset.id === id); // another tab's history brings every row anew
  focusFrom(list, again < 0 ? place : again);
}

/**
 * Whoever acknowledges by keyboard goes on with the next one.
 * @param {HTMLElement} list
 * @param {number} place
 */
function focusFrom(list, place) {
  const buttons = [...list.children].slice(place).map((item) => item.querySelector('button'));
  (buttons.find(Boolean) ?? byId('history-clear')).focus();
}
