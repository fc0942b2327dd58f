/** A history for each user: on a screen that is shared nobody finds another's notifications. */

import { HermesHistory } from '../../hermes-client.js';

/** Tells `change` when what is to be shown has changed. */
export class Histories extends EventTarget {
  /** @type {Map<string, HermesHistory>} those that this page has needed */
  #byUser = new Map();
  #user;

  /** @param {() => string} user  whose token the page has now; empty if it names nobody */
  constructor(user) {
    super();
    this.#user = user;
  }

  get current() {
    const user = this.#user();
    const known = this.#byUser.get(user);
    if (known) return known;
    const made = new HermesHistory({ key: `hermes.history.${user}` });
    this.#byUser.set(user, made);
    made.addEventListener('change', () => made === this.current && this.turn());
    return made;
  }

  /** It may be another user's turn. */
  turn() { this.dispatchEvent(new Event('change')); }
}
