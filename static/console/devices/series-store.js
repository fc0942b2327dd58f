/** All series that this page has received, sorted, and the filter. Independent of the DOM. */

import { deviceKey, Series } from './series.js';

/** @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame */
/** @typedef {import('../../hermes-client.js').PresenceFrame} PresenceFrame */
/** @typedef {'all' | 'stale' | 'offline'} StateFilter */

const SERIES_MAX = 20_000; // about 30 MB of a browser's memory
const OFFLINE_MAX = 20_000;

export class SeriesStore {
  /** @type {Map<string, Series>} */
  #byKey = new Map();
  /** @type {Series[]} sorted by key */
  #sorted = [];
  /** @type {Map<string, PresenceFrame>} the status frames of the devices that are offline */
  #offline = new Map();
  /** @type {Set<string>} */
  #devices = new Set();
  /** @type {Set<string>} */
  #overflow = new Set();
  /** @type {Series[] | null} those that match the filter; null: not computed */
  #visible = null;
  #text = '';
  /** @type {StateFilter} */
  #filterState = 'all';
  staleCount = 0;

  get size() { return this.#sorted.length; }

  get deviceCount() { return this.#devices.size; }

  /** The number of series that were not stored; counted up to `max`. */
  get overflowCount() { return this.#overflow.size; }

  get max() { return SERIES_MAX; }

  /** The series that match the filter, sorted. */
  get visible() { return this.#visible ??= this.#select(); }

  /**
   * Set the filter.
   * @param {string} text
   * @param {StateFilter} state
   */
  filter(text, state) {
    this.#text = text.trim().toLowerCase();
    this.#filterState = state;
    this.#visible = null;
  }

  /** Apply the filter again: what is stale or offline may have changed. */
  refresh() { if (this.#filterState !== 'all') this.#visible = null; }

  /**
   * Store a value.
   * @param {DeviceFrame} frame
   * @param {string} source  the name of the socket that received it
   * @returns {Series | null}  null if the frame changes nothing that is shown
   */
  update(frame, source) {
    const key = deviceKey(frame) + frame.series;
    const series = this.#byKey.get(key) ?? this.#add(key, frame);
    if (!series) return null;
    const wasStale = series.stale;
    if (!series.update(frame, source)) return null;
    this.staleCount += Number(series.stale) - Number(wasStale);
    return series;
  }

  /** Mark as stale what only this socket delivers; false if there is nothing. @param {string} source */
  markSourceLost(source) {
    let lost = 0;
    for (const series of this.#sorted) if (series.markSourceLost(source)) lost += 1;
    this.staleCount += lost;
    return lost > 0;
  }

  /** Update whether a device is online. @param {PresenceFrame} frame */
  updatePresence(frame) {
    const key = deviceKey(frame);
    const offline = frame.online === false ? frame : undefined; // null: not known
    if (!offline) this.#offline.delete(key);
    else if (this.#offline.size < OFFLINE_MAX) this.#offline.set(key, frame);
    for (const series of this.device(key)) {
      series.offline = offline;
      series.version += 1;
    }
  }

  /** All series of a device, sorted. @param {string} key  a `deviceKey` */
  device(key) {
    const first = this.#indexOf(key);
    let last = first;
    while (this.#sorted[last]?.key.startsWith(key)) last += 1;
    return this.#sorted.slice(first, last);
  }

  /** The status frame of a device that is offline. @param {string} key  a `deviceKey` */
  offline(key) { return this.#offline.get(key); }

  /**
   * @param {string} key
   * @param {DeviceFrame} frame
   */
  #add(key, frame) {
    if (this.size >= SERIES_MAX) {
      if (this.#overflow.size < SERIES_MAX) this.#overflow.add(key);
      return null;
    }
    const series = new Series(frame);
    series.offline = this.#offline.get(deviceKey(frame));
    this.#sorted.splice(this.#indexOf(key), 0, series);
    this.#byKey.set(key, series);
    this.#devices.add(deviceKey(frame));
    if (this.#visible !== this.#sorted) this.#visible = null;
    return series;
  }

  /** The index of a key in the sorted list, by binary search. @param {string} key */
  #indexOf(key) {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle].key < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #select() {
    if (!this.#text && this.#filterState === 'all') return this.#sorted;
    return this.#sorted.filter((series) => series.searchText.includes(this.#text) && this.#matchesState(series));
  }

  /** @param {Series} series */
  #matchesState({ stale, offline }) { return this.#filterState === 'all' || (this.#filterState === 'stale' ? stale : Boolean(offline)); }
}
