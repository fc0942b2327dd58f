/** The rate of events over the last minute, in little memory: there is one for each of 20,000 series. */

const SLOT_MS = 10_000;
const SLOTS = 7; // one minute and the current slot

export class RateMeter {
  #counts = new Uint32Array(SLOTS);
  #slot = 0;
  #first = 0;
  #firstCount = 0;

  /**
   * Count events.
   * @param {number} now  Unix ms
   * @param {number} [count]
   */
  record(now, count = 1) {
    if (!this.#first) [this.#first, this.#firstCount] = [now, count];
    this.#advance(now);
    this.#counts[this.#slot % SLOTS] += count;
  }

  /**
   * Events per second; null until there is an interval between two events and 2 s have passed.
   * @param {number} now  Unix ms
   */
  rate(now) {
    this.#advance(now);
    const windowStart = (this.#slot - SLOTS + 1) * SLOT_MS;
    const isNew = this.#first >= windowStart;
    const seconds = (now - (isNew ? this.#first : windowStart)) / 1000;
    const count = this.#counts.reduce((sum, each) => sum + each, 0) - (isNew ? this.#firstCount : 0);
    return !this.#first || seconds < 2 || (isNew && !count) ? null : count / seconds;
  }

  /** Clear the slots that have started since the last call. @param {number} now */
  #advance(now) {
    const slot = Math.floor(now / SLOT_MS);
    for (let each = Math.max(this.#slot + 1, slot - SLOTS + 1); each <= slot; each += 1) this.#counts[each % SLOTS] = 0;
    this.#slot = Math.max(slot, this.#slot);
  }
}
