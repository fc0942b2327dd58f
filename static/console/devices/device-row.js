/** A row of the table on the screen. It shows one series now and another after a scroll. */

import { make, setText } from '../element.js';
import { Sparkline } from '../sparkline.js';
import { freshness, offlineWords, rateWords, shortValue, topicWords, valueAge, valueText } from './value-words.js';

/** @typedef {import('./series.js').Series} Series */

const TITLE_CHARS = 2_000;

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
  #version = -1;
  #flashes = 0;

  constructor() {
    const device = cell('device');
    device.append(this.#link, this.#offline);
    const trend = cell('trend');
    trend.append(this.#trend.element);
    this.element = make('tr', { role: 'row' }, this.#tenant, device, this.#series, this.#value, trend, this.#age, this.#rate, this.#topic);
  }

  /** What it shows. */
  get series() { return this.#shown; }

  get hasFocus() { return this.element.contains(document.activeElement); }

  focus() { this.#link.focus({ preventScroll: true }); }

  /**
   * @param {Series} series
   * @param {number} place  in what is shown, from 0
   * @param {number} now  Unix ms
   */
  show(series, place, now) {
    if (series !== this.#shown) this.#name(series);
    if (this.element.ariaRowIndex !== String(place + 2)) this.element.ariaRowIndex = String(place + 2); // after the head
    if (series !== this.#shown || series.version !== this.#version) this.#paint(series);
    this.#shown = series;
    this.#version = series.version;
    setText(this.#age, valueAge(series, now));
    setText(this.#rate, rateWords(series, now));
  }

  /** @param {Series} series */
  #name({ tenant, device, name }) {
    setText(this.#tenant, tenant);
    setText(this.#link, device);
    this.#link.href = `#devices/${encodeURIComponent(tenant)}/${encodeURIComponent(device)}`;
    setText(this.#series, name || '–');
  }

  /** @param {Series} series */
  #paint(series) {
    const { frame, offline, numbers } = series;
    setText(this.#value, shortValue(frame.data));
    this.#value.title = valueText(frame.data).slice(0, TITLE_CHARS);
    setText(this.#topic, topicWords(series));
    this.#topic.title = this.#topic.textContent ?? '';
    this.#offline.hidden = !offline;
    setText(this.#offline, offlineWords(series));
    this.element.toggleAttribute('data-offline', Boolean(offline));
    this.element.dataset.freshness = freshness(series);
    this.#trend.draw(numbers.toArray().map(({ value }) => value));
    this.#flash(series);
  }

  /** Only news flashes, not a row that shows another series; a new name restarts the animation. @param {Series} series */
  #flash(series) {
    this.#flashes += 1;
    const news = series === this.#shown && !series.frame.snapshot && !series.stale;
    this.element.className = news ? (this.#flashes % 2 ? 'flash-odd' : 'flash-even') : '';
  }
}

/** @param {string} name */
function cell(name) { return make('td', { role: 'cell', class: name }); }
