/** The rows of the inbox, oldest first. */

import { byId, make, makeButton } from '../lib/dom.js';
import { formatTime } from '../lib/format-time.js';
import { formatNumber, t } from '../lib/i18n.js';
import { iconUrl } from '../notifications/notification.js';
import { DEFAULT_PRIORITY } from './inbox-rows.js';

/** @typedef {import('./inbox-rows.js').InboxRow} InboxRow */

export class InboxList {
  root = make('ol', { class: 'history inbox-rows', tabindex: '0', 'aria-labelledby': 'inbox-title' });
  #acknowledge;
  /** @type {Map<number, {item: HTMLElement, state: string}>} by number: an unchanged row keeps focus and text selection */
  #items = new Map();

  /** @param {(id: string) => void} acknowledge */
  constructor(acknowledge) { this.#acknowledge = acknowledge; }

  clear() {
    this.#items.clear();
    this.root.replaceChildren();
  }

  /** @param {InboxRow[]} rows  ascending */
  paint(rows) {
    this.root.hidden = !rows.length;
    const wanted = new Set(rows.map(({ seq }) => seq));
    for (const [seq, { item }] of this.#items) if (!wanted.has(seq)) this.#remove(seq, item);
    for (const row of rows) this.#paintRow(row);
  }

  /** @param {number} seq @param {HTMLElement} item */
  #remove(seq, item) {
    this.#items.delete(seq);
    item.remove();
  }

  /** @param {InboxRow} row */
  #paintRow(row) {
    const state = JSON.stringify([row.ackedAt, row.withdrawn, hasExpired(row), new Date().toDateString()]);
    const shown = this.#items.get(row.seq);
    if (shown?.state === state) return;
    const item = this.#createItem(row);
    this.#items.set(row.seq, { item, state });
    if (!shown) return this.root.append(item);
    const focused = shown.item.contains(document.activeElement);
    shown.item.replaceWith(item);
    if (focused) this.#focusFrom(item);
  }

  /** Move the focus to the next button, for users who acknowledge by keyboard. @param {HTMLElement} item */
  #focusFrom(item) {
    const items = [...this.root.children];
    const buttons = items.slice(items.indexOf(item)).map((each) => each.querySelector('button'));
    (buttons.find(Boolean) ?? byId('main')).focus({ preventScroll: true });
  }

  /** @param {InboxRow} row */
  #createItem(row) {
    const { notification: { id, title, message, type, timestamp, tenant }, seq } = row;
    const ended = row.withdrawn || hasExpired(row);
    const facts = [
      `#${seq}`, formatTime(timestamp), tenant && t('notifications.to_all', { tenant }),
      row.priority !== DEFAULT_PRIORITY && t('inbox.priority', { n: formatNumber(row.priority) }),
      row.expires && t(hasExpired(row) ? 'inbox.expired' : 'inbox.expires', { time: formatTime(row.expires) }),
      row.ackedAt && t('inbox.acked', { time: formatTime(row.ackedAt) }), row.withdrawn && t('inbox.withdrawn'),
    ];
    const item = make('li', { 'data-seq': String(seq), 'data-state': ended ? 'ended' : row.ackedAt ? 'acked' : 'unread' },
      make('img', { src: iconUrl(type), alt: t(`type.${type}`), width: '20', height: '20' }),
      make('div', {}, make('strong', {}, title), make('p', {}, message), make('small', {}, facts.filter(Boolean).join(' · '))));
    if (!ended && !row.ackedAt) item.append(this.#button(id, title));
    return item;
  }

  /** @param {string} id @param {string} title */
  #button(id, title) {
    const button = makeButton(t('notifications.ack'), () => this.#acknowledge(id));
    button.setAttribute('aria-label', t('notifications.ack_this', { title }));
    return button;
  }
}

/** @param {InboxRow} row */
function hasExpired({ expires }) { return expires !== null && expires <= Date.now(); }
