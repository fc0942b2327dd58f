/** All series that this page has received, the filter and the sort order. Independent of the DOM. */

import { ChartChoices } from './chart-choices.js';
import { DeviceName } from './device-name.js';
import { deviceKey, Series } from './series.js';
import { isLive, sorted } from './sort-order.js';

/** @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame */
/** @typedef {import('../../hermes-client.js').PresenceFrame} PresenceFrame */
/** @typedef {import('./sort-order.js').SortOrder} SortOrder */
/** @typedef {'all' | 'stale' | 'offline'} StateFilter */

const SERIES_MAX = 20_000; // about 40 MB of a browser's memory
const OFFLINE_MAX = 20_000;
const SELECT_EVERY_MS = 200; // to filter and sort 20,000 series takes some tens of milliseconds
const SORT_EVERY_MS = 2_000; // rows that move more often cannot be read

export class SeriesStore {
  /** @type {Map<string, Series>} */
  #byKey = new Map();
  /** @type {Series[]} sorted by key */
  #sorted = [];
  /** @type {Map<string, PresenceFrame>} the status frames of the devices that are offline */
  #offline = new Map();
  /** @type {Map<string, DeviceName>} of each device with a series, by its key */
  #names = new Map();
  /** @type {Set<string>} */
  #overflow = new Set();
  #choices = new ChartChoices();
  /** @type {Series[] | null} those that match the filter, in order; null: to be computed */
  #visible = null;
  /** Whether new series or names have changed what is visible since it was computed. */
  #isOutdated = false;
  #selectedAt = 0;
  #text = '';
  /** @type {StateFilter} */
  #filterState = 'all';
  /** @type {SortOrder | null} */
  #order = null;
  staleCount = 0;

  get size() { return this.#sorted.length; }

  get deviceCount() { return this.#names.size; }

  /** The number of series that were not stored; counted up to `max`. */
  get overflowCount() { return this.#overflow.size; }

  get max() { return SERIES_MAX; }

  /** The series that match the filter, in order. */
  get visible() {
    if (this.#isOutdated && Date.now() - this.#selectedAt >= SELECT_EVERY_MS) this.#visible = null;
    return this.#visible ??= this.#select();
  }

  /** The sort order; null is by tenant, device id and series. */
  get order() { return this.#order; }

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

  /** @param {SortOrder | null} order */
  sort(order) {
    this.#order = order;
    this.#visible = null;
  }

  /** Filter and sort again: values and ages have changed, and what is stale or offline. */
  refresh() {
    const isDue = isLive(this.#order) && Date.now() - this.#selectedAt >= SORT_EVERY_MS;
    if (isDue || this.#filterState !== 'all') this.#visible = null;
  }

  /**
   * Store a value.
   * @param {DeviceFrame} frame
   * @param {string} text  of the frame
   * @param {string} source  the name of the socket that received it
   * @returns {Series | null}  null if the frame changes nothing that is shown
   */
  update(frame, text, source) {
    const key = deviceKey(frame) + frame.series;
    const series = this.#byKey.get(key) ?? this.#add(key, frame);
    if (!series) return null;
    const wasStale = series.stale;
    if (!series.update(frame, text, source)) return null;
    this.staleCount += Number(series.stale) - Number(wasStale);
    if (series.deviceName.update(frame)) this.#showRename(frame);
    return series;
  }

  /** @param {DeviceFrame} frame  with the new name of its device */
  #showRename(frame) {
    for (const series of this.device(deviceKey(frame))) series.version += 1;
    this.#isOutdated = true;
  }

  /**
   * Chart another number of a series, now and in later visits.
   * @param {Series} series
   * @param {string | undefined} pointer  undefined: automatic
   * @param {{at: number, data: unknown}[]} earlier  values before the last one, oldest first
   */
  chooseNumber(series, pointer, earlier) {
    this.#choices.set(series.key, pointer);
    series.choose(pointer, earlier);
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
      if (offline) series.breakLine(Date.now());
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

  /** The name of a device, empty if it has none. @param {string} key  a `deviceKey` */
  nameOf(key) { return this.#names.get(key)?.text ?? ''; }

  /**
   * @param {string} key
   * @param {DeviceFrame} frame
   */
  #add(key, frame) {
    if (this.size >= SERIES_MAX) {
      if (this.#overflow.size < SERIES_MAX) this.#overflow.add(key);
      return null;
    }
    const device = deviceKey(frame);
    const name = this.#names.get(device) ?? new DeviceName();
    const series = new Series(frame, name, this.#choices.get(key));
    series.offline = this.#offline.get(device);
    this.#sorted.splice(this.#indexOf(key), 0, series);
    this.#byKey.set(key, series);
    this.#names.set(device, name);
    if (this.#visible !== this.#sorted) this.#isOutdated = true;
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
    this.#isOutdated = false;
    this.#selectedAt = Date.now();
    const isFiltered = this.#text || this.#filterState !== 'all';
    const matching = isFiltered ? this.#sorted.filter((series) => this.#matchesText(series) && this.#matchesState(series)) : this.#sorted;
    return this.#order ? sorted(matching, this.#order, this.#selectedAt) : matching;
  }

  /** @param {Series} series */
  #matchesText(series) { return !this.#text || series.searchText.includes(this.#text); }

  /** @param {Series} series */
  #matchesState({ stale, offline }) { return this.#filterState === 'all' || (this.#filterState === 'stale' ? stale : Boolean(offline)); }
}
