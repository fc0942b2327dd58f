/**
 * ARIA live region: report changes to screen readers.
 *
 * Only this region is live, because the countdowns change too often to be read out.
 */

import { make } from './dom.js';

const LINES_MAX = 8; // the last two changes of each of the four sockets

export class LiveRegion {
  #root;

  /** @param {HTMLElement} root */
  constructor(root) { this.#root = root; }

  /** Append a line and drop the oldest. @param {string} text */
  announce(text) {
    this.#root.append(make('p', {}, text));
    while (this.#root.childElementCount > LINES_MAX) this.#root.firstElementChild?.remove();
  }
}
