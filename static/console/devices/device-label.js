/** The name and the id of a device, side by side: a name alone may be that of two devices. */

import { make, setText } from '../lib/dom.js';

export class DeviceLabel {
  #name = make('bdi', { class: 'device-name', hidden: '' }); // a name from right to left does not reverse the id
  #gap = document.createTextNode('');
  #id = make('bdi', { class: 'device-id' });
  #root;

  /** @param {HTMLElement} root  its parent */
  constructor(root) {
    this.#root = root;
    root.classList.add('device-label');
    root.append(this.#name, this.#gap, this.#id);
  }

  get text() { return this.#root.textContent ?? ''; }

  /** @param {string} name  empty if it has none @param {string} id */
  show(name, id) {
    setText(this.#name, name);
    this.#name.hidden = !name;
    this.#gap.data = name ? ' ' : '';
    setText(this.#id, id);
    this.#root.toggleAttribute('data-named', Boolean(name));
    this.#root.title = this.text;
  }
}
