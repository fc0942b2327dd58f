/**
 * One panel at a time, named by the URL's fragment: `#devices`, or with more behind it, `#devices/acme/d1`.
 *
 * @typedef {object} Panel
 * @property {(rest: string) => void} [show]  the fragment behind the first slash, percent-decoding left to the panel
 * @property {() => void} [hide]
 */

import { byId } from './element.js';
import { t } from './strings.js';

const FIRST = 'overview';

export class Navigation {
  #panels;
  #shown = '';

  /** @param {Map<string, Panel>} panels  by the id of their section */
  constructor(panels) {
    this.#panels = panels;
    window.addEventListener('hashchange', () => this.#go(true));
    document.querySelector('.skip')?.addEventListener('click', (event) => {
      event.preventDefault(); // the fragment goes on naming the panel
      byId('main').focus();
    });
    this.#go(false);
  }

  /** @param {boolean} moved  by the user, so that the focus goes along */
  #go(moved) {
    const [name, ...rest] = location.hash.slice(1).split('/');
    const shown = this.#panels.has(name) ? name : FIRST;
    if (moved && name && shown !== name) return; // a jump within the page: the skip link
    if (this.#shown && this.#shown !== shown) this.#panels.get(this.#shown)?.hide?.();
    const changed = this.#shown !== shown;
    this.#shown = shown;
    for (const each of this.#panels.keys()) byId(each).hidden = each !== shown;
    for (const link of document.querySelectorAll('#panels a')) {
      if (link.getAttribute('href') !== `#${shown}`) link.removeAttribute('aria-current');
      else {
        link.setAttribute('aria-current', 'page');
        if (changed) link.scrollIntoView({ block: 'nearest', inline: 'nearest' }); // the row scrolls where it is narrow
      }
    }
    this.#panels.get(shown)?.show?.(rest.join('/'));
    if (!moved || !changed) return;
    const heading = byId(shown).querySelector('h2');
    document.title = `${heading?.textContent?.trim() ?? ''} · ${t('page.title')}`;
    heading?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}
