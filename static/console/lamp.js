/** A lamp with a word and a detail; several may show the same thing in different places. */

import { find, setText } from './element.js';

/**
 * @param {HTMLElement} root
 * @param {string} state  colours it
 * @param {string} word
 * @param {string} detail
 */
export function showLamp(root, state, word, detail) {
  root.dataset.state = state;
  setText(find(root, '.word', HTMLElement), word);
  setText(find(root, '.detail', HTMLElement), detail);
}
