/** The latest errors, newest first. A repeated error moves to the top and shows how often it occurred. */

import { byId, make } from '../lib/dom.js';
import { formatTime } from '../lib/format-time.js';
import { formatNumber, t } from '../lib/i18n.js';

const ERRORS_MAX = 20;

export class ErrorList {
  #list = byId('errors');
  #total = 0;
  /** @type {Map<string, number>} occurrences of each error in the list, oldest first */
  #counts = new Map();

  /**
   * Add an error.
   * @param {string} source  the socket or the action
   * @param {string} message
   */
  add(source, message) {
    const text = `${source}: ${message}`;
    const count = (this.#counts.get(text) ?? 0) + 1;
    this.#drop(text);
    this.#counts.set(text, count);
    const item = make('li', {}, make('time', {}, formatTime(Date.now())), ` ${text}${count > 1 ? ` ${t('errors.times', { n: formatNumber(count) })}` : ''}`);
    item.dataset.text = text;
    this.#list.prepend(item);
    if (this.#counts.size > ERRORS_MAX) this.#drop(this.#list.lastElementChild?.getAttribute('data-text') ?? '');
    this.#total += 1;
    byId('errors-count').textContent = String(this.#total);
    byId('errors-empty').hidden = true;
  }

  /** @param {string} text */
  #drop(text) {
    this.#counts.delete(text);
    for (const item of [...this.#list.children]) if (item.getAttribute('data-text') === text) item.remove();
  }
}
