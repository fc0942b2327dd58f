/** The devices' latest values: one row for each tenant, device and series, in order, updated in place. */

import { DeviceRow } from './device-row.js';
import { byId } from './element.js';

/** @typedef {import('../hermes-client.js').Frame} Frame */

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
  #painting = false;

  constructor() { setInterval(() => this.#paintAges(), AGES_EVERY_MS); }

  /** Takes a value at once, paints once per picture. @param {Frame} frame */
  take(frame) {
    const key = [frame.tenant_id, frame.device_id, frame.series].join('\u0000');
    const row = this.#rows.get(key) ?? this.#add(key, frame);
    if (!row) return this.#leaveOut(key);
    row.update(frame);
    this.#changed.add(row);
    if (this.#painting) return;
    this.#painting = true;
    requestAnimationFrame(() => this.#paint());
  }

  /**
   * @param {string} key
   * @param {Frame} frame
   */
  #add(key, frame) {
    if (this.#rows.size >= ROWS_MAX) return null;
    const row = new DeviceRow(key, frame);
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
