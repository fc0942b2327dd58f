/** Which number of a series is charted: the one that the user chose, or the best one by its name. Independent of the DOM. */

import { rankOf } from './number-names.js';

/**
 * @typedef {object} Candidate  a number in the data of a device
 * @property {string[]} path  names of members and indices of elements; empty if the data is the number itself
 * @property {number} rank  the lowest is the default
 */

const VALUES_MAX = 300; // looked at in one message, so that a large one costs at most a millisecond
const DEPTH_MAX = 8;
const ELEMENTS_MAX = 10;
const SEARCHES_MAX = 20; // messages of a device may differ; later ones rarely have a better number
const MISSES_MAX = 20;

export class ChartedNumber {
  /** @type {string[] | null} null until a number was found */
  path = null;
  #isChosen;
  #rank = Infinity;
  #searches = 0;
  #misses = 0;

  /** @param {string | undefined} pointer  of the user's choice (RFC 6901); undefined: automatic */
  constructor(pointer) {
    this.#isChosen = pointer !== undefined;
    if (pointer !== undefined) this.path = pathOf(pointer);
  }

  get isChosen() { return this.#isChosen; }

  /**
   * The number in the data, null if there is none; without a choice of the user it may change the path to a better one.
   * @param {unknown} data
   */
  read(data) {
    if (!this.#isChosen && this.#searches < SEARCHES_MAX) this.#search(data);
    const value = this.path && numberAt(data, this.path);
    this.#misses = value === null ? this.#misses + 1 : 0;
    if (this.#misses >= MISSES_MAX) [this.#misses, this.#searches, this.#rank] = [0, 0, Infinity];
    return value;
  }

  /** @param {unknown} data */
  #search(data) {
    const [best] = candidatesOf(data);
    if (!best) return;
    this.#searches += 1;
    if (best.rank >= this.#rank) return;
    this.#rank = best.rank;
    if (!this.path || pointerOf(best.path) !== pointerOf(this.path)) this.path = best.path;
  }
}

/**
 * The numbers in the data, the best first; breadth first, so that a bound cuts off the deepest.
 * @param {unknown} data
 * @returns {Candidate[]}
 */
export function candidatesOf(data) {
  /** @type {Candidate[]} */
  const found = [];
  /** @type {{value: unknown, path: string[], names: string[]}[]} */
  const queue = [{ value: data, path: [], names: [] }];
  for (let at = 0; at < queue.length; at += 1) {
    const { value, path, names } = queue[at];
    const number = numberOf(value, path.length === 0);
    if (number !== null) found.push({ path, rank: rankOf(names, number) });
    if (!value || typeof value !== 'object' || path.length >= DEPTH_MAX) continue;
    const isList = Array.isArray(value);
    for (const name of Object.keys(value).slice(0, isList ? ELEMENTS_MAX : VALUES_MAX)) {
      if (queue.length >= VALUES_MAX) break;
      queue.push({ value: /** @type {any} */ (value)[name], path: [...path, name], names: isList ? names : [...names, name] });
    }
  }
  return found.sort((one, other) => one.rank - other.rank);
}

/**
 * The number at this path; null if there is none.
 * @param {any} data
 * @param {string[]} path
 */
export function numberAt(data, path) {
  return numberOf(path.reduce((value, name) => (isOwn(value, name) ? value[name] : undefined), data), path.length === 0);
}

/**
 * The member `unit` beside the number; empty if there is none.
 * @param {any} data
 * @param {string[] | null} path
 */
export function unitOf(data, path) {
  const owner = (path ?? []).slice(0, -1).reduce((value, name) => (isOwn(value, name) ? value[name] : undefined), data);
  return isOwn(owner, 'unit') && typeof owner.unit === 'string' ? owner.unit : '';
}

/** @param {unknown} value @param {string} name */
function isOwn(value, name) { return typeof value === 'object' && value !== null && Object.hasOwn(value, name); }

/**
 * @param {unknown} value
 * @param {boolean} isWhole  whether it is all of the data: text may then be a number too
 */
function numberOf(value, isWhole) {
  if (typeof value === 'string' && isWhole) return value.trim() && Number.isFinite(Number(value)) ? Number(value) : null;
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

/** The JSON pointer of a path (RFC 6901). @param {string[]} path */
export function pointerOf(path) { return path.map((name) => `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`).join(''); }

/** @param {string} pointer */
function pathOf(pointer) { return pointer.split('/').slice(1).map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~')); }
