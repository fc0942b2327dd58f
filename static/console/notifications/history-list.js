/** The history, shown: searched, filtered, exported, acknowledged, cleared. */

import { download } from '../download.js';
import { byId, find, make, makeButton, setText } from '../element.js';
import { number, t } from '../strings.js';
import { clockWords } from '../time-words.js';
import { iconUrl, noticeOf } from './notification.js';

/** @typedef {import('./notification.js').Notice} Notice */

export class HistoryList {
  #history;
  #acknowledge;
  #painting = false;
  #text = find(document, '#history-filter', HTMLInputElement);
  #type = find(document, '#history-type', HTMLSelectElement);
  #open = find(document, '#history-open', HTMLInputElement);

  /**
   * @param {import('../../hermes-client.js').HermesHistory} history
   * @param {(notices: Notice[]) => void} acknowledge
   */
  constructor(history, acknowledge) {
    this.#history = history;
    this.#acknowledge = acknowledge;
    for (const field of [this.#text, this.#type, this.#open]) field.addEventListener('input', () => this.#paint());
    byId('history-export').addEventListener('click', () => this.#export());
    byId('history-ack-all').addEventListener('click', () => acknowledge(this.#chosen.filter(({ acked }) => !acked)));
    byId('history-clear').addEventListener('click', () => this.#ask(true));
    byId('history-keep').addEventListener('click', () => this.#ask(false));
    byId('history-really').addEventListener('click', () => {
      history.clear();
      this.#ask(false);
    });
    history.addEventListener('change', () => this.#paintSoon());
    this.#paint();
  }

  get #chosen() {
    const text = this.#text.value.trim().toLowerCase();
    return this.#history.items.map(noticeOf).filter(({ title, message, type, acked, id }) => (
      (!this.#type.value || type === this.#type.value) && (!this.#open.checked || !acked)
      && `${title}\n${message}\n${id}`.toLowerCase().includes(text)));
  }

  /** Before everything goes; in the page, where a keyboard stays. @param {boolean} asking */
  #ask(asking) {
    byId('history-sure').hidden = !asking;
    byId('history-clear').hidden = asking;
    byId(asking ? 'history-keep' : 'history-clear').focus();
  }

  #export() {
    const items = this.#chosen.map(({ id }) => this.#history.items.find((item) => String(item.id) === id));
    download('hermes-notifications.json', 'application/json', JSON.stringify(items, null, 2));
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
    const { items } = this.#history;
    const open = items.filter(({ acked }) => !acked).length;
    const chosen = this.#chosen;
    setText(byId('history-count'), number(items.length));
    const badge = byId('notifications-badge');
    badge.hidden = !open;
    setText(badge, number(open));
    byId('history-empty').hidden = items.length > 0;
    setText(byId('history-shown'), chosen.length === items.length ? '' : t('notifications.of', { n: number(chosen.length), total: number(items.length) }));
    const list = byId('history');
    const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
    list.replaceChildren(...chosen.map((notice) => this.#item(notice)));
    if (focused >= 0) focusFrom(list, focused);
  }

  /** @param {Notice} notice */
  #item(notice) {
    const facts = [clockWords(notice.timestamp), notice.tenant && t('notifications.to_all', { tenant: notice.tenant }),
      notice.acked && t('notifications.acked')];
    return make('li', { 'data-type': notice.type },
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
 * Whoever acknowledges by keyboard goes on with the next one.
 * @param {HTMLElement} list
 * @param {number} place
 */
function focusFrom(list, place) {
  const buttons = [...list.children].slice(place).map((item) => item.querySelector('button'));
  (buttons.find(Boolean) ?? byId('history-clear')).focus();
}
