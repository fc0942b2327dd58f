/** The last errors, in words, newest first. One that comes again moves to the top and counts its times. */

import { byId, make } from '../element.js';
import { number, t } from '../strings.js';
import { clockWords } from '../time-words.js';

const ERRORS_KEPT = 20;

export class ErrorList {
  #list = byId('errors');
  #total = 0;
  /** @type {Map<string, number>} how often each error of the list came, oldest first */
  #times = new Map();

  /**
   * @param {string} where
   * @param {string} words
   */
  add(where, words) {
    const text = `${where}: ${words}`;
    const times = (this.#times.get(text) ?? 0) + 1;
    this.#drop(text);
    this.#times.set(text, times);
    const item = make('li', {}, make('time', {}, clockWords(Date.now())), ` ${text}${times > 1 ? ` ${t('errors.times', { n: number(times) })}` : ''}`);
    item.dataset.text = text;
    this.#list.prepend(item);
    if (this.#times.size > ERRORS_KEPT) this.#drop(this.#list.lastElementChild?.getAttribute('data-text') ?? '');
    this.#total += 1;
    byId('errors-count').textContent = String(this.#total);
    byId('errors-empty').hidden = true;
  }

  /** @param {string} text */
  #drop(text) {
    this.#times.delete(text);
    for (const item of [...this.#list.children]) if (item.getAttribute('data-text') === text) item.remove();
  }
}
