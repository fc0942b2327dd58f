/** One series of one device: its last value, whether that is stale, and earlier numbers. Independent of the DOM. */

import { textAt } from '../lib/json-text.js';
import { PointRingBuffer } from '../lib/ring-buffer.js';
import { ChartedNumber, unitOf } from './charted-number.js';
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
  /** The name of the device, shared by all its series. */
  deviceName;
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
  /** @type {number | null} the charted number in the last value */
  number = null;
  #text = '';
  /** @type {string | undefined} computed when it is shown */
  #dataText;
  #charted;
  #rateMeter = new RateMeter();
  /** @type {Set<string>} the open sockets that deliver this series */
  #sources = new Set();

  /**
   * @param {DeviceFrame} frame  any frame of the series
   * @param {import('./device-name.js').DeviceName} deviceName
   * @param {string} [chosen]  pointer to the number that the user chose to chart
   */
  constructor(frame, deviceName, chosen) {
    const { tenant_id: tenant, device_id: device, series } = frame;
    [this.tenant, this.device, this.name] = [String(tenant), String(device), String(series)];
    this.key = deviceKey(frame) + series;
    this.deviceName = deviceName;
    this.#charted = new ChartedNumber(chosen);
  }

  /** Lower-case text that the filter searches. */
  get searchText() { return [this.tenant, this.deviceName.text, this.device, this.name, this.frame.topic].join(' ').toLowerCase(); }

  /** The text of `data`, exactly as it was sent. */
  get dataText() { return this.#dataText ??= textAt(this.#text, ['data']) ?? ''; }

  /** The path of the charted number within the data; null if there is none. */
  get chartedPath() { return this.#charted.path; }

  /** Whether the user chose the charted number. */
  get isChartChosen() { return this.#charted.isChosen; }

  /** The text of the charted number in the last value. */
  get numberText() {
    const { data } = this.frame;
    return this.chartedPath?.length ? textAt(this.dataText, this.chartedPath) : typeof data === 'string' ? data.trim() : this.dataText;
  }

  get unit() { return unitOf(this.frame.data, this.chartedPath); }

  /** Messages per second; null if unknown. @param {number} now  Unix ms */
  rate(now) { return this.#rateMeter.rate(now); }

  /**
   * Store a value; false if that changes nothing that is shown.
   *
   * A snapshot does not replace a newer live value, and a stale value stays stale if the snapshot only repeats it.
   * @param {DeviceFrame} frame
   * @param {string} text  of the frame
   * @param {string} source  the name of the socket that received it
   */
  update(frame, text, source) {
    const isNewer = !frame.snapshot || isLater(frame, this.frame);
    const isFirst = !this.#sources.size && !this.stale;
    this.#sources.add(source);
    if (!isNewer && !this.stale && !isFirst) return false;
    // The age of a live value starts when it arrives here, so that a wrong clock on either side does not matter. The
    // time of a snapshot value comes from the server; it may be unknown.
    this.valueAt = frame.snapshot || frame.timestamp === null ? frame.timestamp : Date.now();
    const isRepeated = this.stale && !isNewer;
    if (isNewer || isFirst) this.stale = frame.stale === true;
    this.frame = frame;
    this.#text = text;
    this.#dataText = undefined;
    this.version += 1;
    if (source === this.#primarySource && !isRepeated) this.#record(frame);
    if (this.stale) this.breakLine(Date.now());
    return true;
  }

  /** Several sockets may deliver the same messages; only those of the first one are counted. */
  get #primarySource() { return this.#sources.values().next().value; }

  /** @param {DeviceFrame} frame */
  #record(frame) {
    if (!frame.snapshot) this.#rateMeter.record(Date.now(), 1 + (frame.skipped ?? 0));
    const { path } = this.#charted;
    const value = this.#charted.read(frame.data);
    if (path !== this.#charted.path) this.points.clear();
    this.number = value;
    if (value !== null) this.points.push({ at: this.valueAt ?? Date.now(), value });
  }

  /**
   * Chart another number.
   * @param {string | undefined} pointer  undefined: automatic
   * @param {{at: number, data: unknown}[]} earlier  values before the last one, oldest first
   */
  choose(pointer, earlier) {
    const breaks = this.points.toArray().filter(({ value }) => Number.isNaN(value));
    this.#charted = new ChartedNumber(pointer);
    this.number = this.#charted.read(this.frame.data); // decides the automatic choice
    const values = [...earlier, { at: this.valueAt ?? Date.now(), data: this.frame.data }]
      .map(({ at, data }) => ({ at, value: this.#charted.read(data) }));
    this.points.clear();
    for (const { at, value } of [...values, ...breaks].sort((one, other) => one.at - other.at)) if (value !== null) this.points.push({ at, value });
    this.version += 1;
  }

  /** End the line of the chart: values after this moment may be missing. @param {number} at  Unix ms */
  breakLine(at) {
    const { last } = this.points;
    if (last && !Number.isNaN(last.value)) this.points.push({ at: Math.max(at, last.at), value: NaN });
  }

  /** Become stale if this socket was the last one to deliver the series; false if not. @param {string} source */
  markSourceLost(source) {
    if (!this.#sources.delete(source) || this.#sources.size || this.stale) return false;
    this.stale = true;
    this.breakLine(Date.now());
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
