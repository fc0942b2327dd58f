/** One series of one device: its last value, whether that is stale, and earlier numbers. Independent of the DOM. */

import { PointRingBuffer } from '../lib/ring-buffer.js';
import { numericValue, unitOf } from './numeric-value.js';
import { RateMeter } from './rate-meter.js';

/** @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame */
/** @typedef {import('../../hermes-client.js').PresenceFrame} PresenceFrame */

const POINTS_MAX = 60;

export class Series {
  /** @type {string} */
  tenant;
  /** @type {string} */
  device;
  /** @type {string} */
  name;
  /** @type {string} */
  key;
  /** Lower-case text that the filter searches. */
  searchText;
  /** The last value; without fields until the first. */
  frame = /** @type {DeviceFrame} */ ({});
  /** Whether the value may have changed since this page received it. */
  stale = false;
  /** @type {number | null} Unix ms; null if unknown */
  valueAt = null;
  /** @type {PresenceFrame | undefined} the status frame of a device that is offline */
  offline;
  /** Incremented at each change that a row shows. */
  version = 0;
  points = new PointRingBuffer(POINTS_MAX);
  #rateMeter = new RateMeter();
  /** @type {Set<string>} the open sockets that deliver this series */
  #sources = new Set();

  /** @param {DeviceFrame} frame  any frame of the series */
  constructor(frame) {
    const { tenant_id: tenant, device_id: device, series, topic } = frame;
    [this.tenant, this.device, this.name] = [String(tenant), String(device), String(series)];
    this.key = deviceKey(frame) + series;
    this.searchText = [tenant, device, series, topic].join(' ').toLowerCase();
  }

  get unit() { return unitOf(this.frame.data); }

  /** Messages per second; null if unknown. @param {number} now  Unix ms */
  rate(now) { return this.#rateMeter.rate(now); }

  /**
   * Store a value; false if that changes nothing that is shown.
   *
   * A snapshot does not replace a newer live value, and a stale value stays stale if the snapshot only repeats it.
   * @param {DeviceFrame} frame
   * @param {string} source  the name of the socket that received it
   */
  update(frame, source) {
    const isNewer = !frame.snapshot || isLater(frame, this.frame);
    const isFirst = !this.#sources.size && !this.stale;
    this.#sources.add(source);
    if (!isNewer && !this.stale && !isFirst) return false;
    if (isNewer || isFirst) this.stale = frame.stale === true;
    // The age of a live value starts when it arrives here, so that a wrong clock on either side does not matter. The
    // time of a snapshot value comes from the server; it may be unknown.
    this.valueAt = frame.snapshot || frame.timestamp === null ? frame.timestamp : Date.now();
    this.frame = frame;
    this.version += 1;
    if (source === this.#primarySource) this.#record(frame);
    return true;
  }

  /** Several sockets may deliver the same messages; only those of the first one are counted. */
  get #primarySource() { return this.#sources.values().next().value; }

  /** @param {DeviceFrame} frame */
  #record(frame) {
    if (!frame.snapshot) this.#rateMeter.record(Date.now(), 1 + (frame.skipped ?? 0));
    const value = numericValue(frame.data);
    if (value !== null) this.points.push({ at: this.valueAt ?? Date.now(), value });
  }

  /** Become stale if this socket was the last one to deliver the series; false if not. @param {string} source */
  markSourceLost(source) {
    if (!this.#sources.delete(source) || this.#sources.size || this.stale) return false;
    this.stale = true;
    this.version += 1;
    return true;
  }
}

/** The common prefix of the keys of all series of a device. @param {{tenant_id: string, device_id: string}} frame */
export function deviceKey({ tenant_id: tenant, device_id: device }) { return `${tenant}\u0000${device}\u0000`; }

/**
 * Compare by the clock of the server only; a value without a time is not later than any.
 * @param {DeviceFrame} frame
 * @param {DeviceFrame} known
 */
function isLater({ timestamp }, known) {
  return timestamp !== null && (known.timestamp === null || timestamp > known.timestamp);
}
