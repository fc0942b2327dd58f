/** Bounded buffers that drop the oldest values. */

/** The latest values of any type. @template V */
export class RingBuffer {
  /** @type {V[]} */
  #values = [];
  #size;
  #start = 0;

  /** @param {number} size  how many are kept */
  constructor(size) { this.#size = size; }

  get length() { return this.#values.length; }

  /** @returns {V | undefined} the newest */
  get last() { return this.length ? this.at(this.length - 1) : undefined; }

  /** @param {V} value */
  push(value) {
    if (this.#values.length < this.#size) this.#values.push(value);
    else {
      this.#values[this.#start] = value;
      this.#start = (this.#start + 1) % this.#size;
    }
  }

  /** @param {number} index  0 is the oldest */
  at(index) { return this.#values[(this.#start + index) % this.#values.length]; }

  toArray() { return [...this.#values.slice(this.#start), ...this.#values.slice(0, this.#start)]; }

  clear() {
    this.#values = [];
    this.#start = 0;
  }
}

/** @typedef {{at: number, value: number}} Point  at: Unix ms; value: NaN breaks the line */

/** The latest numbers with their times, in a block of memory that is allocated at the first of them. */
export class PointRingBuffer {
  #size;
  /** Times and values alternate. */
  #doubles = new Float64Array(0);
  #pushed = 0;
  /** How often it was cleared. */
  clears = 0;

  /** @param {number} size  how many are kept */
  constructor(size) { this.#size = size; }

  get length() { return Math.min(this.#pushed, this.#size); }

  /** How many were pushed since it was cleared. */
  get pushed() { return this.#pushed; }

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

  clear() {
    this.#pushed = 0;
    this.clears += 1;
  }

  /** Oldest first. */
  toArray() { return Array.from({ length: this.length }, (_, index) => this.#at(index)); }

  /** @param {number} index  0 is the oldest */
  #at(index) {
    const slot = 2 * ((this.#pushed - this.length + index) % this.#size);
    return { at: this.#doubles[slot], value: this.#doubles[slot + 1] };
  }
}
