/** A status light: a coloured dot with a label and a detail. */

import { find, setText } from './dom.js';

/**
 * @param {HTMLElement} root
 * @param {string} state  sets the colour
 * @param {string} label
 * @param {string} detail
 */
export function showStatusLight(root, state, label, detail) {
  root.dataset.state = state;
  setText(find(root, '.label', HTMLElement), label);
  setText(find(root, '.detail', HTMLElement), detail);
}
