/** The last errors, in words, newest first. The same one again only raises a count. */

import { byId, make } from './element.js';
import { clockWords } from './time-words.js';

const ERRORS_KEPT = 20;

export class ErrorList {
  #list = byId('errors');
  #total = 0;
  #last = { text: '', times: 0 };

  /**
   * @param {string} where
   * @param {string} words
   */
  add(where, words) {
    const text = `${where}: ${words}`;
    if (text === this.#last.text) this.#list.firstElementChild?.remove();
    this.#last = { text, times: text === this.#last.text ? this.#last.times + 1 : 1 };
    const times = this.#last.times > 1 ? ` (${this.#last.times} times)` : '';
    this.#list.prepend(make('li', {}, make('time', {}, clockWords(Date.now())), ` ${text}${times}`));
    while (this.#list.childElementCount > ERRORS_KEPT) this.#list.lastElementChild?.remove();
    this.#total += 1;
    byId('errors-count').textContent = String(this.#total);
    byId('errors-empty').hidden = true;
  }
}
