/** One notification history per user, so that users of a shared screen do not see those of others. */

import { HermesHistory } from '../../hermes-client.js';
import { scoped } from '../lib/storage.js';

/** @typedef {HermesHistory<{data_text: string}>} History  data_text: the text of `data`, if parsing has changed it */

/** Emits `change` when the history to show has changed. */
export class UserHistories extends EventTarget {
  /** @type {Map<string, History>} created on demand */
  #byUser = new Map();
  #currentUser;

  /** @param {() => string} currentUser  the user id of the token in use; empty without one */
  constructor(currentUser) {
    super();
    this.#currentUser = currentUser;
  }

  get current() {
    const user = this.#currentUser();
    const existing = this.#byUser.get(user);
    if (existing) return existing;
    /** @type {History} */
    const created = new HermesHistory({ key: scoped(`hermes.history.${user}`) });
    this.#byUser.set(user, created);
    created.addEventListener('change', () => created === this.current && this.notifyChange());
    return created;
  }

  /** Report that the user or the history has changed. */
  notifyChange() { this.dispatchEvent(new Event('change')); }
}
