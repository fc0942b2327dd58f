/** The devices' latest values: one row for each tenant, device and series, in order, updated in place. */

import { DeviceRow } from './device-row.js';
import { byId } from '../element.js';

/** @typedef {import('../../hermes-client-types.js').Frame} Frame */

const ROWS_MAX = 2_000; // beyond this a browser labours, and nobody reads it
const AGES_EVERY_MS = 1_000;

export class DeviceTable {
  #body = byId('devices-rows');
  /** @type {Map<string, DeviceRow>} */
  #rows = new Map();
  /** @type {string[]} the keys, sorted as the rows stand */
  #order = [];
  /** @type {Set<DeviceRow>} */
  #changed = new Set();
  /** @type {Set<string>} */
  #leftOut = new Set();
  /** @type {Map<string, Frame>} the devices that are offline, with the frame that said so */
  #offline = new Map();
  #painting = false;

  constructor() { setInterval(() => this.#paintAges(), AGES_EVERY_MS); }

  get size() { return this.#rows.size; }

  get staleCount() { return [...this.#rows.values()].filter(({ stale }) => stale).length; }

  /**
   * Takes a value at once, paints once per picture.
   * @param {Frame} frame
   * @param {string} source  the name of the socket that brought it
   */
  take(frame, source) {
    const key = deviceKey(frame) + frame.series;
    const row = this.#rows.get(key) ?? this.#add(key, frame);
    if (!row) return this.#leaveOut(key);
    if (!row.take(frame, source)) return;
    this.#changed.add(row);
    if (this.#painting) return;
    this.#painting = true;
    requestAnimationFrame(() => this.#paint());
  }

  /** What only this socket has brought is stale from now on. @param {string} source */
  lose(source) {
    for (const row of this.#rows.values()) if (row.lose(source)) row.paintAge();
  }

  /** A device came or went. @param {Frame} frame */
  showPresence(frame) {
    const device = deviceKey(frame);
    if (frame.online) this.#offline.delete(device);
    else if (this.#offline.size < ROWS_MAX) this.#offline.set(device, frame);
    for (let place = placeOf(device, this.#order); this.#order[place]?.startsWith(device); place += 1) {
      this.#rows.get(this.#order[place])?.showPresence(frame.online ? undefined : frame);
    }
  }

  /**
   * @param {string} key
   * @param {Frame} frame
   */
  #add(key, frame) {
    if (this.#rows.size >= ROWS_MAX) return null;
    const row = new DeviceRow(frame);
    row.showPresence(this.#offline.get(deviceKey(frame)));
    const place = placeOf(key, this.#order);
    this.#body.insertBefore(row.element, this.#rows.get(this.#order[place])?.element ?? null);
    this.#order.splice(place, 0, key);
    this.#rows.set(key, row);
    return row;
  }

  /** @param {string} key */
  #leaveOut(key) {
    if (this.#leftOut.size >= ROWS_MAX || this.#leftOut.has(key)) return;
    this.#leftOut.add(key);
    const count = `${this.#leftOut.size.toLocaleString()}${this.#leftOut.size === ROWS_MAX ? ' or more' : ''}`;
    const note = byId('devices-full');
    note.hidden = false;
    note.textContent = `The table is full with ${ROWS_MAX.toLocaleString()} rows: ${count} further series are not shown.`;
  }

  #paint() {
    this.#painting = false;
    for (const row of this.#changed) row.paint();
    this.#changed.clear();
    byId('devices-count').textContent = this.#rows.size.toLocaleString();
    byId('devices-empty').hidden = true;
    byId('devices-scroll').hidden = false;
  }

  #paintAges() {
    if (document.hidden) return;
    for (const row of this.#rows.values()) row.paintAge();
  }
}

/** What the keys of all the device's series begin with. @param {Frame} frame */
function deviceKey({ tenant_id: tenant, device_id: device }) { return `${tenant}\u0000${device}\u0000`; }

/**
 * Where a key belongs among sorted keys (binary search).
 * @param {string} key
 * @param {string[]} order
 */
function placeOf(key, order) {
  let low = 0;
  let high = order.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (order[middle] < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
