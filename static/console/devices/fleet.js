/** All series that this page knows, in order, and the choice among them that is shown. Knows nothing of the page. */

import { deviceKey, Series } from './series.js';

/** @typedef {import('../../hermes-client.js').Frame} Frame */
/** @typedef {'all' | 'stale' | 'offline'} Choice */

const SERIES_MAX = 20_000; // about 30 MB of a browser's memory
const OFFLINE_MAX = 20_000;

export class Fleet {
  /** @type {Map<string, Series>} */
  #byKey = new Map();
  /** @type {Series[]} in the order of their keys */
  #order = [];
  /** @type {Map<string, Frame>} the devices that are offline, with the frame that said so */
  #offline = new Map();
  /** @type {Set<string>} */
  #devices = new Set();
  /** @type {Set<string>} */
  #leftOut = new Set();
  /** @type {Series[] | null} what is shown; null: find out again */
  #view = null;
  #text = '';
  /** @type {Choice} */
  #choice = 'all';
  staleCount = 0;

  get size() { return this.#order.length; }

  get deviceCount() { return this.#devices.size; }

  /** How many series had no room; it is not counted further than there is room. */
  get leftOut() { return this.#leftOut.size; }

  get max() { return SERIES_MAX; }

  /** What is shown, in order. */
  get view() { return this.#view ??= this.#choose(); }

  /**
   * @param {string} text
   * @param {Choice} choice
   */
  filter(text, choice) {
    this.#text = text.trim().toLowerCase();
    this.#choice = choice;
    this.#view = null;
  }

  /** Time to look again who is stale or offline. */
  refresh() { if (this.#choice !== 'all') this.#view = null; }

  /**
   * The series if its row changes.
   * @param {Frame} frame
   * @param {string} source  the name of the socket that brought it
   */
  take(frame, source) {
    const key = deviceKey(frame) + frame.series;
    const series = this.#byKey.get(key) ?? this.#add(key, frame);
    if (!series) return null;
    const wasStale = series.stale;
    if (!series.take(frame, source)) return null;
    this.staleCount += Number(series.stale) - Number(wasStale);
    return series;
  }

  /** What only this socket has brought is stale from now on; whether there is any. @param {string} source */
  lose(source) {
    let lost = 0;
    for (const series of this.#order) if (series.lose(source)) lost += 1;
    this.staleCount += lost;
    return lost > 0;
  }

  /** A device came or went. @param {Frame} frame */
  showPresence(frame) {
    const key = deviceKey(frame);
    const offline = frame.online ? undefined : frame;
    if (!offline) this.#offline.delete(key);
    else if (this.#offline.size < OFFLINE_MAX) this.#offline.set(key, frame);
    for (const series of this.device(key)) {
      series.offline = offline;
      series.version += 1;
    }
  }

  /** All series of a device, in order. @param {string} key  a `deviceKey` */
  device(key) {
    const first = this.#placeOf(key);
    let end = first;
    while (this.#order[end]?.key.startsWith(key)) end += 1;
    return this.#order.slice(first, end);
  }

  /** @param {string} key  a `deviceKey` */
  offline(key) { return this.#offline.get(key); }

  /**
   * @param {string} key
   * @param {Frame} frame
   */
  #add(key, frame) {
    if (this.size >= SERIES_MAX) {
      if (this.#leftOut.size < SERIES_MAX) this.#leftOut.add(key);
      return null;
    }
    const series = new Series(frame);
    series.offline = this.#offline.get(deviceKey(frame));
    this.#order.splice(this.#placeOf(key), 0, series);
    this.#byKey.set(key, series);
    this.#devices.add(deviceKey(frame));
    if (this.#view !== this.#order) this.#view = null;
    return series;
  }

  /** Where a key belongs among the sorted (binary search). @param {string} key */
  #placeOf(key) {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#order[middle].key < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #choose() {
    if (!this.#text && this.#choice === 'all') return this.#order;
    return this.#order.filter((series) => series.text.includes(this.#text) && this.#isChosen(series));
  }

  /** @param {Series} series */
  #isChosen({ stale, offline }) { return this.#choice === 'all' || (this.#choice === 'stale' ? stale : Boolean(offline)); }
}
