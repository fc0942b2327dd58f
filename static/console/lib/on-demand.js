/** Load the scripts of a part of the page when it is first shown, so that the page itself is small. */

import { make } from './dom.js';
import { t } from './i18n.js';

const PREFETCH_AFTER_MS = 20_000; // the page has settled; a part that was never shown works during an outage, too

/** @template {object} P */
export class OnDemand {
  /** @type {P | null} null until it is loaded */
  part = null;
  #root;
  #load;
  #styles;
  /** @type {Promise<void> | null} */
  #loading = null;
  /** @type {[string, string] | null} the arguments of `show` while it is shown */
  #shown = null;
  #failure = make('p', { class: 'card bad', role: 'alert', hidden: '' }, t('page.not_loaded'));

  /**
   * @param {HTMLElement} root  its element
   * @param {() => Promise<P>} load
   * @param {string[]} styles  the URLs of its style sheets
   */
  constructor(root, load, ...styles) {
    this.#root = root;
    this.#load = load;
    this.#styles = styles;
    setTimeout(() => this.#loadOnce().catch(() => {}), PREFETCH_AFTER_MS);
  }

  /**
   * Show the part, once it is loaded and unless it was hidden meanwhile; until then it is busy.
   * @param {string} first
   * @param {string} second
   */
  async show(first, second) {
    this.#shown = [first, second];
    if (!this.part) {
      this.#root.setAttribute('aria-busy', 'true');
      await this.#loadOnce().catch(() => this.#root.append(this.#failure));
    }
    this.#failure.hidden = this.part !== null;
    if (this.#shown) this.#panel?.show?.(...this.#shown);
    this.#root.removeAttribute('aria-busy');
  }

  hide() {
    this.#shown = null;
    this.#panel?.hide?.();
  }

  get #panel() { return /** @type {import('./navigation.js').Panel | null} */ (this.part); }

  #loadOnce() {
    if (!this.#loading) document.head.append(...this.#styles.map((href) => make('link', { rel: 'stylesheet', href })));
    return this.#loading ??= this.#load().then((part) => { this.part = part; }, (error) => {
      this.#loading = null; // the next time may be better
      throw error;
    });
  }
}

/**
 * Return a function that loads something once, and tries again after a failure.
 * @template V
 * @param {() => Promise<V>} load
 */
export function once(load) {
  /** @type {Promise<V> | null} */
  let loading = null;
  return () => loading ??= load().catch((error) => {
    loading = null;
    throw error;
  });
}
