/** The numbers that the user chose to chart, by series; the browser keeps them. */

import { readLasting, storeLasting } from '../lib/storage.js';

const STORAGE_KEY = 'hermes.charts';
const CHOICES_MAX = 1_000;

export class ChartChoices {
  #pointers = read();

  /** The pointer to the chosen number; undefined if the choice is automatic. @param {string} series  its key */
  get(series) { return this.#pointers.get(series); }

  /**
   * @param {string} series  its key
   * @param {string | undefined} pointer
   */
  set(series, pointer) {
    this.#pointers = read(); // another tab may have added some
    this.#pointers.delete(series);
    if (pointer !== undefined) this.#pointers.set(series, pointer);
    storeLasting(STORAGE_KEY, JSON.stringify([...this.#pointers].slice(-CHOICES_MAX)));
  }
}

/** @returns {Map<string, string>} */
function read() {
  try {
    const entries = JSON.parse(readLasting(STORAGE_KEY) ?? '[]');
    return new Map(entries.filter((/** @type {unknown[]} */ entry) => entry.every((each) => typeof each === 'string')));
  } catch { // not written by this page
    return new Map();
  }
}
