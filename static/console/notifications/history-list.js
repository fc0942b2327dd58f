/** The history, shown. */

import { byId, make, makeButton } from '../element.js';
import { iconUrl } from './notification.js';
import { clockWords } from '../time-words.js';

/** @typedef {import('./notification.js').Notice} Notice */

export class HistoryList {
  #history;
  #acknowledge;
  #painting = false;

  /**
   * @param {import('./history.js').History} history
   * @param {(notice: Notice) => void} acknowledge
   */
  constructor(history, acknowledge) {
    this.#history = history;
    this.#acknowledge = acknowledge;
    byId('history-clear').addEventListener('click', () => history.clear());
    history.addEventListener('change', () => this.#paintSoon());
    this.#paint();
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
    const { notices } = this.#history;
    byId('history-count').textContent = String(notices.length);
    byId('history-empty').hidden = notices.length > 0;
    const list = byId('history');
    const focused = [...list.children].findIndex((item) => item.contains(document.activeElement));
    list.replaceChildren(...notices.map((notice) => this.#item(notice)));
    if (focused >= 0) focusFrom(list, focused);
  }

  /** @param {Notice} notice */
  #item(notice) {
    const scope = notice.tenant ? ` · to all of ${notice.tenant}` : '';
    return make('li', { 'data-type': notice.type },
      make('img', { src: iconUrl(notice.type), alt: notice.type, width: '20', height: '20' }),
      make('div', {},
        make('strong', {}, notice.title),
        make('p', {}, notice.message),
        make('small', {}, `${clockWords(notice.timestamp)}${scope}${notice.acked ? ' · acknowledged' : ''}`)),
      ...(notice.acked ? [] : [this.#button(notice)]));
  }

  /** @param {Notice} notice */
  #button(notice) {
    const button = makeButton('Acknowledge', () => this.#acknowledge(notice));
    button.setAttribute('aria-label', `Acknowledge ${notice.title}`);
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
