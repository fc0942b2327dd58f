/** Rates per second of monotonic counters. */

export class CounterRates {
  /** @type {Map<string, {at: number, count: number}>} */
  #last = new Map();

  /**
   * The rate since the last call; null at the first call and after a reset of the counter.
   * @param {string} name
   * @param {number} count
   * @param {number} at  ms, by the clock of the counter's host
   */
  rate(name, count, at) {
    const before = this.#last.get(name);
    this.#last.set(name, { at, count });
    if (!before || count < before.count || at <= before.at) return null;
    return ((count - before.count) * 1000) / (at - before.at);
  }
}
