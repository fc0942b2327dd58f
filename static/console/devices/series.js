/** One series of one device: its last value, how fresh that is, and the numbers before it. Knows nothing of the page. */

import { NumberRing } from './number-ring.js';
import { numberIn, unitOf } from './numbers.js';
import { RateMeter } from './rate-meter.js';

/** @typedef {import('../../hermes-client.js').Frame} Frame */

const NUMBERS_KEPT = 60;

export class Series {
  /** @type {string} */
  tenant;
  /** @type {string} */
  device;
  /** @type {string} */
  name;
  /** @type {string} */
  key;
  /** What a filter looks into. */
  text;
  /** @type {Frame} */
  frame = {};
  /** Whether the value may have changed without anybody telling this page. */
  stale = false;
  /** @type {number | null} Unix ms; null where nobody knows */
  bornAt = null;
  /** @type {Frame | undefined} the status frame of a device that is offline */
  offline;
  /** Grows with every change that a row shows. */
  version = 0;
  numbers = new NumberRing(NUMBERS_KEPT);
  #meter = new RateMeter();
  /** @type {Set<string>} the sockets that have brought the value, and would bring the next */
  #sources = new Set();

  /** @param {Frame} frame  any of the series */
  constructor(frame) {
    const { tenant_id: tenant, device_id: device, series, topic } = frame;
    [this.tenant, this.device, this.name] = [String(tenant), String(device), String(series)];
    this.key = deviceKey(frame) + series;
    this.text = [tenant, device, series, topic].join(' ').toLowerCase();
  }

  get unit() { return unitOf(this.frame.data); }

  /** Messages per second, or null. @param {number} now  Unix ms */
  rate(now) { return this.#meter.rate(now); }

  /**
   * Whether it changes what is shown. A snapshot is no news: it never replaces what came live, and a stale value stays
   * stale if the snapshot only repeats it.
   * @param {Frame} frame
   * @param {string} source  the name of the socket that brought it
   */
  take(frame, source) {
    const isNewer = !frame.snapshot || isLater(frame, this.frame);
    const isFirst = !this.#sources.size && !this.stale;
    this.#sources.add(source);
    if (!isNewer && !this.stale && !isFirst) return false;
    if (isNewer) this.stale = false;
    // A live value's age counts from its arrival here, so that a wrong clock on either side does not matter; of a
    // replayed value only the server knows when it came, and of some nobody.
    this.bornAt = frame.snapshot || frame.timestamp === null ? frame.timestamp : Date.now();
    this.frame = frame;
    this.version += 1;
    if (source === this.#leader) this.#note(frame);
    return true;
  }

  /** Several sockets may bring the same messages, in batches of their own: those of the first one count. */
  get #leader() { return this.#sources.values().next().value; }

  /** @param {Frame} frame */
  #note(frame) {
    if (!frame.snapshot) this.#meter.count(Date.now(), 1 + (frame.skipped ?? 0));
    const value = numberIn(frame.data);
    if (value !== null) this.numbers.push({ at: this.bornAt ?? Date.now(), value });
  }

  /** Whether it is stale from now on, for that socket was the last one that would bring the next value. @param {string} source */
  lose(source) {
    if (!this.#sources.delete(source) || this.#sources.size || this.stale) return false;
    this.stale = true;
    this.version += 1;
    return true;
  }
}

/** What the keys of all the device's series begin with. @param {Frame} frame */
export function deviceKey({ tenant_id: tenant, device_id: device }) { return `${tenant}\u0000${device}\u0000`; }

/**
 * By the server's clock alone. A value whose time nobody knows is later than none.
 * @param {Frame} frame
 * @param {Frame} known
 */
function isLater({ timestamp }, known) {
  return timestamp !== null && (known.timestamp === null || timestamp > known.timestamp);
}
