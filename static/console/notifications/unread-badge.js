/** The number of unread notifications: in the title and the icon of the tab, and on the icon of an installed page. */

import { find } from '../lib/dom.js';

const ICON = 'static/icons/favicon.svg';
const ICON_UNREAD = 'static/icons/favicon-unread.svg';

export class UnreadBadge {
  #count = 0;
  #icon = find(document, 'link[rel=icon]', HTMLLinkElement);

  constructor() { window.addEventListener('hashchange', () => this.#showInTitle()); } // the navigation has set the title

  /** @param {number} count */
  show(count) {
    if (count === this.#count) return;
    this.#count = count;
    this.#showInTitle();
    this.#icon.setAttribute('href', count ? ICON_UNREAD : ICON);
    navigator.setAppBadge?.(count).catch(() => {}); // 0 removes it; refused where the page is not installed
  }

  #showInTitle() {
    const title = document.title.replace(/^\(\d+\) /, '');
    document.title = this.#count ? `(${this.#count}) ${title}` : title;
  }
}
