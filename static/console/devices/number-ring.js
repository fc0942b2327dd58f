/** The last so many numbers of a series, each with its time, in memory that never grows after the first. */

/** @typedef {{at: number, value: number}} Point  at: Unix ms */

export class NumberRing {
  #size;
  /** Times and values by turns; a series of words needs none. */
  #doubles = new Float64Array(0);
  #pushed = 0;

  /** @param {number} size  how many are kept */
  constructor(size) { this.#size = size; }

  get length() { return Math.min(this.#pushed, this.#size); }

  /** @returns {Point | undefined} the newest */
  get last() { return this.length ? this.#at(this.length - 1) : undefined; }

  /** @param {Point} point */
  push({ at, value }) {
    if (!this.#pushed) this.#doubles = new Float64Array(2 * this.#size);
    const slot = 2 * (this.#pushed % this.#size);
    this.#doubles[slot] = at;
    this.#doubles[slot + 1] = value;
    this.#pushed += 1;
  }

  /** Oldest first. */
  toArray() { return Array.from({ length: this.length }, (_, place) => this.#at(place)); }

  /** @param {number} place  0 is the oldest */
  #at(place) {
    const slot = 2 * ((this.#pushed - this.length + place) % this.#size);
    return { at: this.#doubles[slot], value: this.#doubles[slot + 1] };
  }
}
