/** A row of the device table. It is reused for another series when the table scrolls. */

import { make, setText } from '../lib/dom.js';
import { Sparkline } from '../lib/sparkline.js';
import { DeviceLabel } from './device-label.js';
import { formatOffline, formatRate, formatShortValue, formatTopic, formatValue, formatValueAge, freshness } from './format-value.js';

/** @typedef {import('./series.js').Series} Series */

const TITLE_MAX_CHARS = 2_000;

export class DeviceRow {
  element;
  #tenant = cell('tenant');
  #link = make('a');
  #label = new DeviceLabel(this.#link);
  #offline = make('small', { class: 'offline', hidden: '' });
  #series = cell('series');
  #value = cell('value');
  #trend = new Sparkline(96, 22);
  #trendCell = cell('trend');
  #age = cell('age');
  #rate = cell('rate');
  #topic = cell('topic');
  /** @type {Series | null} */
  #shown = null;
  #shownVersion = -1;
  #flashCount = 0;

  constructor() {
    const device = cell('device');
    device.append(this.#link, this.#offline);
    this.#trendCell.append(this.#trend.element);
    this.element = make('tr', { role: 'row' }, this.#tenant, device, this.#series, this.#value, this.#trendCell, this.#age, this.#rate, this.#topic);
  }

  /** The series it shows. */
  get series() { return this.#shown; }

  get hasFocus() { return this.element.contains(document.activeElement); }

  focus() { this.#link.focus({ preventScroll: true }); }

  /** The texts of the columns that are as wide as their content. */
  get texts() {
    const [tenant, series, value, age, rate, topic] = [this.#tenant, this.#series, this.#value, this.#age, this.#rate, this.#topic]
      .map(({ textContent }) => textContent ?? '');
    return { tenant, device: longer(this.#label.text, this.#offline.textContent ?? ''), series, value, age, rate, topic };
  }

  /**
   * Show a series.
   * @param {Series} series
   * @param {number} index  among the filtered series, from 0
   * @param {number} now  Unix ms
   */
  show(series, index, now) {
    if (series !== this.#shown) this.#setNames(series);
    const rowIndex = String(index + 2); // the header row is 1
    if (this.element.getAttribute('aria-rowindex') !== rowIndex) this.element.setAttribute('aria-rowindex', rowIndex);
    if (series !== this.#shown || series.version !== this.#shownVersion) this.#paint(series);
    this.#shown = series;
    this.#shownVersion = series.version;
    setText(this.#age, formatValueAge(series, now));
    setText(this.#rate, formatRate(series, now));
  }

  /** @param {Series} series */
  #setNames({ tenant, device, name }) {
    setText(this.#tenant, tenant);
    this.#link.href = `#devices/${encodeURIComponent(tenant)}/${encodeURIComponent(device)}`;
    setText(this.#series, name || '–');
  }

  /** @param {Series} series */
  #paint(series) {
    const { device, deviceName, frame, offline, points, chartedPath } = series;
    this.#label.show(deviceName.text, device);
    setText(this.#value, formatShortValue(series));
    this.#value.title = formatValue(series).slice(0, TITLE_MAX_CHARS);
    setText(this.#topic, formatTopic(series));
    this.#topic.title = this.#topic.textContent ?? '';
    this.#offline.hidden = !offline;
    setText(this.#offline, formatOffline(series));
    this.element.toggleAttribute('data-offline', Boolean(offline));
    this.element.dataset.freshness = freshness(series);
    this.#trend.draw(points.toArray().map(({ value }) => value));
    this.#trendCell.title = chartedPath?.join('/') ?? '';
    this.#flash(series, frame);
  }

  /**
   * Flash the row if its value is new; the alternating class name restarts the animation.
   * @param {Series} series
   * @param {import('../../hermes-client.js').DeviceFrame} frame
   */
  #flash(series, { snapshot }) {
    this.#flashCount += 1;
    const isUpdate = series === this.#shown && !snapshot && !series.stale;
    this.element.className = isUpdate ? (this.#flashCount % 2 ? 'flash-odd' : 'flash-even') : '';
  }
}

/** @param {string} name */
function cell(name) { return make('td', { role: 'cell', class: name }); }

/** @param {string} one @param {string} other */
function longer(one, other) { return other.length > one.length ? other : one; }
