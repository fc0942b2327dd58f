/** The last so many values of something that never ends. @template V */
export class Ring {
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

  /** @param {number} place  0 is the oldest */
  at(place) { return this.#values[(this.#start + place) % this.#values.length]; }

  toArray() { return [...this.#values.slice(this.#start), ...this.#values.slice(0, this.#start)]; }

  clear() {
    this.#values = [];
    this.#start = 0;
  }
}
