/** New notifications, in the corner of the page. Warnings and errors stay until someone acknowledges them. */

import { byId, make, makeButton } from '../element.js';
import { t } from '../strings.js';
import { iconUrl } from './notification.js';

/** @typedef {import('./notification.js').Notice} Notice */

const KEPT = 200; // as in the history; notifications.css shows the newest few
const LEAVES_AFTER_MS = 10_000;

export class Toasts {
  #root = byId('toasts');
  #acknowledge;

  /** @param {(notice: Notice) => void} acknowledge */
  constructor(acknowledge) { this.#acknowledge = acknowledge; }

  /** @param {Notice} notice */
  show(notice) {
    const button = makeButton(t('notifications.ack'), () => this.#acknowledge(notice));
    button.setAttribute('aria-label', t('notifications.ack_this', { title: notice.title }));
    const toast = make('article', { class: 'toast', 'data-type': notice.type, 'data-id': notice.id },
      make('img', { src: iconUrl(notice.type), alt: t(`type.${notice.type}`), width: '28', height: '28' }),
      make('div', {}, make('strong', {}, notice.title), make('p', {}, notice.message)), button);
    this.#root.append(toast);
    while (this.#root.childElementCount > KEPT) this.#root.firstElementChild?.remove();
    if (notice.type === 'info' || notice.type === 'success') leaveInTime(toast);
  }

  /** @param {Notice} notice */
  remove(notice) {
    for (const toast of [...this.#root.children]) {
      if (toast.getAttribute('data-id') !== notice.id) continue;
      const next = toast.nextElementSibling ?? toast.previousElementSibling;
      const focused = toast.contains(document.activeElement);
      toast.remove(); // first: it may have kept the next one out of sight
      if (focused) (next?.querySelector('button') ?? byId('main')).focus({ preventScroll: true });
    }
  }
}

/** Not under somebody's pointer or focus, though. @param {HTMLElement} toast */
function leaveInTime(toast) {
  setTimeout(() => {
    if (toast.matches(':hover, :focus-within')) leaveInTime(toast);
    else toast.remove();
  }, LEAVES_AFTER_MS);
}
