/** Counters that only grow, as rates per second. */

export class Rates {
  /** @type {Map<string, {at: number, count: number}>} */
  #last = new Map();

  /**
   * Null at the first look, and after a restart that began to count anew.
   * @param {string} name
   * @param {number} count
   * @param {number} at  ms by the clock of whoever counts
   */
  rate(name, count, at) {
    const before = this.#last.get(name);
    this.#last.set(name, { at, count });
    if (!before || count < before.count || at <= before.at) return null;
    return ((count - before.count) * 1000) / (at - before.at);
  }
}
