/** A row of the device table. It is reused for another series when the table scrolls. */

import { make, setText } from '../lib/dom.js';
import { Sparkline } from '../lib/sparkline.js';
import { formatOffline, formatRate, formatShortValue, formatTopic, formatValue, formatValueAge, freshness } from './format-value.js';

/** @typedef {import('./series.js').Series} Series */

const TITLE_MAX_CHARS = 2_000;

export class DeviceRow {
  element;
  #tenant = cell('tenant');
  #link = make('a');
  #offline = make('small', { class: 'offline', hidden: '' });
  #series = cell('series');
  #value = cell('value');
  #trend = new Sparkline(96, 22);
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
    const trend = cell('trend');
    trend.append(this.#trend.element);
    this.element = make('tr', { role: 'row' }, this.#tenant, device, this.#series, this.#value, trend, this.#age, this.#rate, this.#topic);
  }

  /** The series it shows. */
  get series() { return this.#shown; }

  get hasFocus() { return this.element.contains(document.activeElement); }

  focus() { this.#link.focus({ preventScroll: true }); }

  /**
   * Show a series.
   * @param {Series} series
   * @param {number} index  among the filtered series, from 0
   * @param {number} now  Unix ms
   */
  show(series, index, now) {
    if (series !== this.#shown) this.#setNames(series);
    if (this.element.ariaRowIndex !== String(index + 2)) this.element.ariaRowIndex = String(index + 2); // the header row is 1
    if (series !== this.#shown || series.version !== this.#shownVersion) this.#paint(series);
    this.#shown = series;
    this.#shownVersion = series.version;
    setText(this.#age, formatValueAge(series, now));
    setText(this.#rate, formatRate(series, now));
  }

  /** @param {Series} series */
  #setNames({ tenant, device, name }) {
    setText(this.#tenant, tenant);
    setText(this.#link, device);
    this.#link.href = `#devices/${encodeURIComponent(tenant)}/${encodeURIComponent(device)}`;
    setText(this.#series, name || '–');
  }

  /** @param {Series} series */
  #paint(series) {
    const { frame, offline, points } = series;
    setText(this.#value, formatShortValue(frame));
    this.#value.title = formatValue(frame).slice(0, TITLE_MAX_CHARS);
    setText(this.#topic, formatTopic(series));
    this.#topic.title = this.#topic.textContent ?? '';
    this.#offline.hidden = !offline;
    setText(this.#offline, formatOffline(series));
    this.element.toggleAttribute('data-offline', Boolean(offline));
    this.element.dataset.freshness = freshness(series);
    this.#trend.draw(points.toArray().map(({ value }) => value));
    this.#flash(series);
  }

  /** Flash the row if its value is new; the alternating class name restarts the animation. @param {Series} series */
  #flash(series) {
    this.#flashCount += 1;
    const isUpdate = series === this.#shown && !series.frame.snapshot && !series.stale;
    this.element.className = isUpdate ? (this.#flashCount % 2 ? 'flash-odd' : 'flash-even') : '';
  }
}

/** @param {string} name */
function cell(name) { return make('td', { role: 'cell', class: name }); }
