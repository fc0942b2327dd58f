/**
 * Show one panel at a time, selected by the fragment of the URL: `#devices`, `#devices?filter=pump` or `#devices/acme/d1`.
 *
 * @typedef {object} Panel
 * @property {(rest: string, query: string) => void} [show]  called with the fragment after the first slash, still
 *   percent-encoded, and with its part after a question mark
 * @property {() => void} [hide]
 */

import { byId } from './dom.js';
import { t } from './i18n.js';

const DEFAULT_PANEL = 'overview';
const REPLACE_EVERY_MS = 400; // Safari throws after 100 changes in 30 s

export class Navigation {
  #panels;
  #shown = '';

  /** @param {Map<string, Panel>} panels  by the id of its section */
  constructor(panels) {
    this.#panels = panels;
    window.addEventListener('hashchange', () => this.#go(true));
    document.querySelector('.skip')?.addEventListener('click', (event) => {
      event.preventDefault(); // the fragment selects the panel and must not change
      byId('main').focus();
    });
    this.#go(false);
  }

  /** Show the panel of the fragment. @param {boolean} byUser  move the focus to it */
  #go(byUser) {
    const [path, ...query] = location.hash.slice(1).split('?');
    const [name, ...rest] = path.split('/');
    const shown = this.#panels.has(name) ? name : DEFAULT_PANEL;
    if (byUser && name && shown !== name) return; // a link within the page
    if (this.#shown && this.#shown !== shown) this.#panels.get(this.#shown)?.hide?.();
    const changed = this.#shown !== shown;
    this.#shown = shown;
    for (const each of this.#panels.keys()) byId(each).hidden = each !== shown;
    for (const link of document.querySelectorAll('#panels a')) {
      if (link.getAttribute('href') !== `#${shown}`) link.removeAttribute('aria-current');
      else {
        link.setAttribute('aria-current', 'page');
        if (changed) link.scrollIntoView({ block: 'nearest', inline: 'nearest' }); // on a narrow screen the row scrolls
      }
    }
    this.#panels.get(shown)?.show?.(rest.join('/'), query.join('?'));
    if (!byUser || !changed) return;
    const heading = byId(shown).querySelector('h2');
    document.title = `${heading?.textContent?.trim() ?? ''} · ${t('page.title')}`;
    heading?.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }
}

let wanted = '';
let replacedAt = -Infinity;
let pending = 0;

/**
 * Replace the fragment of the URL without an entry in the history of the browser and without showing anything.
 * @param {string} fragment  of the panel that is shown
 */
export function replaceFragment(fragment) {
  wanted = fragment;
  if (pending) return;
  pending = window.setTimeout(() => {
    pending = 0;
    const [panel] = wanted.split('?');
    if (location.hash.slice(1).split('?')[0] !== panel || location.hash.slice(1) === wanted) return; // the user has gone on
    replacedAt = performance.now();
    history.replaceState(history.state, '', `${location.pathname}${location.search}#${wanted}`); // the page may have a <base>
  }, Math.max(0, replacedAt + REPLACE_EVERY_MS - performance.now()));
}
