/** The last notifications, kept in this browser's localStorage: they survive a reload, and nobody else sees them. */

/** @typedef {import('./notification.js').Notice} Notice */

const KEPT_AS = 'hermes.history';
const NOTICES_KEPT = 200;
const SAVE_AFTER_MS = 100; // one write for a burst

export class History extends EventTarget {
  /** @type {Notice[]} newest first */
  notices = [];
  #saving = 0;

  constructor() {
    super();
    this.#load();
    window.addEventListener('pagehide', () => this.#save());
    window.addEventListener('storage', ({ key }) => { // another tab wrote
      if (key === KEPT_AS || key === null) this.#load();
    });
  }

  /** False if it is there already: two sockets may bring the same notification. @param {Notice} notice */
  add(notice) {
    if (notice.id && this.notices.some(({ id }) => id === notice.id)) return false;
    this.notices = [notice, ...this.notices].slice(0, NOTICES_KEPT);
    this.#changed();
    return true;
  }

  /** @param {Notice} notice */
  markAcked(notice) {
    this.notices = this.notices.map((each) => (each.id === notice.id ? { ...each, acked: true } : each));
    this.#changed();
  }

  clear() {
    this.notices = [];
    this.#changed();
  }

  #changed() {
    this.#saving ||= window.setTimeout(() => this.#save(), SAVE_AFTER_MS);
    this.dispatchEvent(new Event('change'));
  }

  #load() {
    try {
      const kept = JSON.parse(localStorage.getItem(KEPT_AS) ?? '[]');
      this.notices = Array.isArray(kept) ? kept.slice(0, NOTICES_KEPT) : [];
    } catch {
      this.notices = [];
    }
    this.dispatchEvent(new Event('change'));
  }

  /** Where the storage is full, the older half gives way; where there is none, the history lives in the page only. */
  #save() {
    if (!this.#saving) return; // nothing new
    clearTimeout(this.#saving);
    this.#saving = 0;
    for (let count = this.notices.length; ; count = Math.floor(count / 2)) {
      try {
        return localStorage.setItem(KEPT_AS, JSON.stringify(this.notices.slice(0, count)));
      } catch {
        if (count === 0) return;
      }
    }
  }
}
