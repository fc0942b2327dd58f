/** Tells screen readers what changed. The countdowns move too often to be read out, so only this region is live. */

import { make } from './element.js';

const LINES_KEPT = 8; // four sockets, each with its last two changes

export class Announcer {
  #root;

  /** @param {HTMLElement} root */
  constructor(root) { this.#root = root; }

  /** @param {string} text */
  say(text) {
    this.#root.append(make('p', {}, text));
    while (this.#root.childElementCount > LINES_KEPT) this.#root.firstElementChild?.remove();
  }
}
