/** One message for all notifications that were sent while this page was away. */

import { make, makeButton } from '../lib/dom.js';
import { loadStrings, t, tPlural } from '../lib/i18n.js';
import { iconUrl } from './notification.js';

/**
 * @typedef {import('../../hermes-client-types.js').Missed} Missed
 * @typedef {import('./browser-notifications.js').Shown} Shown
 */

const COLLECT_MS = 500; // two sockets report what they have brought

/**
 * Load the texts, then create it.
 * @param {import('./toasts.js').Toasts} toasts
 * @param {(notification: Shown) => void} notify  show a browser notification
 */
export async function createMissedSummary(toasts, notify) {
  await loadStrings();
  return new MissedSummary(toasts, notify);
}

export class MissedSummary {
  #toasts;
  #notify;
  #collecting = false;
  /** @type {HTMLElement | null} */
  #toast = null;
  #count = 0; // since the last one was closed
  #gap = false;

  /**
   * @param {import('./toasts.js').Toasts} toasts
   * @param {(notification: Shown) => void} notify  show a browser notification
   */
  constructor(toasts, notify) {
    this.#toasts = toasts;
    this.#notify = notify;
  }

  /** Show it soon, together with what other sockets report. @param {Missed} missed */
  add({ count, gap }) {
    this.#count += count;
    this.#gap ||= gap;
    if (!this.#collecting) setTimeout(() => this.#show(), COLLECT_MS);
    this.#collecting = true;
  }

  #show() {
    this.#collecting = false;
    const texts = [this.#count && tPlural('missed.count', this.#count), this.#gap && t('missed.gap')].filter(Boolean);
    const [title, message = ''] = /** @type {string[]} */ (texts);
    this.#notify({ tag: 'hermes-missed', title, message, type: this.#gap ? 'warning' : 'info' });
    const link = make('a', { href: '#notifications' }, t('missed.show'));
    link.addEventListener('click', () => this.#close());
    const toast = make('article', { class: 'toast', 'data-type': this.#gap ? 'warning' : 'info' },
      make('img', { src: iconUrl(this.#gap ? 'warning' : 'info'), alt: '', width: '28', height: '28' }),
      make('div', {}, make('strong', {}, title), ...(message ? [make('p', {}, message)] : []), make('p', {}, link)),
      makeButton(t('missed.close'), () => this.#close()));
    if (this.#toast?.isConnected) this.#toast.replaceWith(toast);
    else this.#toasts.append(toast);
    this.#toast = toast;
  }

  #close() {
    if (this.#toast) this.#toasts.take(this.#toast);
    this.#toast = null;
    this.#count = 0;
    this.#gap = false;
  }
}
