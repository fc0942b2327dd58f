/** How often something came in the last minute, in little memory: there is one for each of many thousands. */

const SLOT_MS = 10_000;
const SLOTS = 7; // a minute, and the slot that is not over yet

export class RateMeter {
  #counts = new Uint32Array(SLOTS);
  #slot = 0;
  #first = 0;
  #firstTimes = 0;

  /**
   * @param {number} now  Unix ms
   * @param {number} [times]
   */
  count(now, times = 1) {
    if (!this.#first) [this.#first, this.#firstTimes] = [now, times];
    this.#turn(now);
    this.#counts[this.#slot % SLOTS] += times;
  }

  /**
   * Per second; null where too little is known yet: the very first says nothing of the time before it.
   * @param {number} now  Unix ms
   */
  rate(now) {
    this.#turn(now);
    const windowBegan = (this.#slot - SLOTS + 1) * SLOT_MS;
    const isYoung = this.#first >= windowBegan;
    const seconds = (now - (isYoung ? this.#first : windowBegan)) / 1000;
    const times = this.#counts.reduce((sum, each) => sum + each, 0) - (isYoung ? this.#firstTimes : 0);
    return !this.#first || seconds < 2 || (isYoung && !times) ? null : times / seconds;
  }

  /** Slots that have passed are empty. @param {number} now */
  #turn(now) {
    const slot = Math.floor(now / SLOT_MS);
    for (let each = Math.max(this.#slot + 1, slot - SLOTS + 1); each <= slot; each += 1) this.#counts[each % SLOTS] = 0;
    this.#slot = Math.max(slot, this.#slot);
  }
}
