/** New notifications in the corner of the page. Warnings and errors stay until they are acknowledged. */

import { byId, make, makeButton } from '../lib/dom.js';
import { t } from '../lib/i18n.js';
import { iconUrl } from './notification.js';

/** @typedef {import('./notification.js').ConsoleNotification} ConsoleNotification */

const TOASTS_MAX = 200; // as many as in the history; notifications.css shows the newest few
const REMOVE_AFTER_MS = 10_000;

export class Toasts {
  #root = byId('toasts');
  #acknowledge;

  /** @param {(notification: ConsoleNotification) => void} acknowledge */
  constructor(acknowledge) { this.#acknowledge = acknowledge; }

  /** @param {ConsoleNotification} notification */
  show(notification) {
    const button = makeButton(t('notifications.ack'), () => this.#acknowledge(notification));
    button.setAttribute('aria-label', t('notifications.ack_this', { title: notification.title }));
    const toast = make('article', { class: 'toast', 'data-type': notification.type, 'data-id': notification.id },
      make('img', { src: iconUrl(notification.type), alt: t(`type.${notification.type}`), width: '28', height: '28' }),
      make('div', {}, make('strong', {}, notification.title), make('p', {}, notification.message)), button);
    this.append(toast);
    if (notification.type === 'info' || notification.type === 'success') this.#removeLater(toast);
  }

  /** Add a toast that stays until it is taken away. @param {HTMLElement} toast */
  append(toast) {
    this.#root.append(toast);
    while (this.#root.childElementCount > TOASTS_MAX) this.#root.firstElementChild?.remove();
    this.#makeRoom();
  }

  /** Remove the toasts of all notifications but these. @param {(id: string) => boolean} stays */
  keep(stays) {
    for (const toast of [...this.#root.children]) {
      const id = toast.getAttribute('data-id');
      if (id !== null && !stays(id)) this.take(toast);
    }
  }

  /** Remove a toast; the next one gets its focus. @param {Element} toast */
  take(toast) {
    const next = toast.nextElementSibling ?? toast.previousElementSibling;
    const focused = toast.contains(document.activeElement);
    toast.remove(); // first: the style sheet may have hidden the next one because of it
    this.#makeRoom();
    if (focused) (next?.querySelector('button') ?? byId('main')).focus({ preventScroll: true });
  }

  /** Remove a toast after some time, but not while it has the pointer or the focus. @param {HTMLElement} toast */
  #removeLater(toast) {
    setTimeout(() => {
      if (toast.matches(':hover, :focus-within')) return this.#removeLater(toast);
      toast.remove();
      this.#makeRoom();
    }, REMOVE_AFTER_MS);
  }

  /** While there is a toast, the page has room below it. */
  #makeRoom() { document.body.classList.toggle('has-toasts', this.#root.childElementCount > 0); }
}
