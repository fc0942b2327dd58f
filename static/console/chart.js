/**
 * A live line chart: time along the bottom, a scale with its unit at the left, a legend that holds the latest numbers.
 *
 * @typedef {object} Series
 * @property {string} label
 * @property {string} colour  any CSS colour: `var(--series-1)`
 *
 * @typedef {object} ChartOptions
 * @property {string} title  what a screen reader calls it
 * @property {Series[]} series
 * @property {string} unit
 * @property {number} [spanMs]  how much time it shows
 * @property {number} [height]  in CSS pixels
 * @property {boolean} [fits]  the scale is that of the values, rather than from 0 on
 *
 * @typedef {{low: number, step: number, high: number}} Scale
 * @typedef {{at: number, values: (number | null)[]}} Point  a null value is a gap in that line
 */

import { make, makeSvg, setText } from './element.js';
import { Ring } from './ring.js';
import { exactNumber, number, t } from './strings.js';

const SPAN_MS = 120_000;
const HEIGHT = 150;
const POINTS_KEPT = 600;
const MARGIN = { left: 68, right: 10, top: 8, bottom: 20 };
const STEPS = [1, 2, 2.5, 5, 10]; // of a scale that people read with ease
const TICK_S = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400];
const TICK_WIDTH = 70; // as much room as the words below need
let charts = 0;

export class LineChart {
  element;
  /** @type {Ring<Point>} */
  #points = new Ring(POINTS_KEPT);
  #options;
  #svg;
  #grid = makeSvg('g', { class: 'grid' });
  #paths;
  #latest;
  #width = 0;

  /**
   * @param {Element} root  the chart is appended to it
   * @param {ChartOptions} options
   */
  constructor(root, { spanMs = SPAN_MS, height = HEIGHT, ...options }) {
    this.#options = { spanMs, height, ...options };
    this.#paths = options.series.map(({ colour }) => {
      const path = makeSvg('path', { class: 'line' });
      path.style.stroke = colour;
      return path;
    });
    charts += 1;
    const titleId = `chart-${charts}`;
    this.#svg = makeSvg('svg', { role: 'img', 'aria-labelledby': titleId, height: String(height) },
      makeSvg('title', { id: titleId }, options.title), this.#grid, ...this.#paths);
    this.#latest = options.series.map(() => make('b', {}, '–'));
    this.element = make('figure', { class: 'chart' }, make('figcaption', {}, ...this.#legend()), this.#svg);
    root.append(this.element);
  }

  /**
   * @param {number} at  Unix ms, never before the last one
   * @param {(number | null)[]} values  one for each series
   */
  push(at, values) { this.#points.push({ at, values }); }

  clear() { this.#points.clear(); }

  /** At most once a second is plenty; does nothing while it cannot be seen. @param {number} [now]  Unix ms */
  paint(now = Date.now()) {
    this.#width = this.#svg.clientWidth;
    if (!this.#width) return;
    this.#svg.setAttribute('viewBox', `0 0 ${this.#width} ${this.#options.height}`);
    const shown = this.#points.toArray().filter(({ at }) => at >= now - this.#options.spanMs);
    const scale = this.#options.fits ? fittingScale(shown) : { low: 0, step: scaleTop(shown) / 2, high: scaleTop(shown) };
    this.#paths.forEach((path, place) => path.setAttribute('d', this.#line(shown, place, now, scale)));
    this.#grid.replaceChildren(...this.#scale(scale), ...this.#times(now));
    this.#latest.forEach((element, place) => {
      const value = this.#points.last?.values[place];
      setText(element, value === null || value === undefined ? '–' : `${number(value)} ${this.#options.unit}`);
    });
  }

  #legend() {
    return this.#options.series.map(({ label, colour }, place) => {
      const swatch = make('span', { class: 'swatch', 'aria-hidden': 'true' });
      swatch.style.background = colour;
      return make('span', { class: 'key' }, swatch, `${label} `, this.#latest[place]);
    });
  }

  /**
   * @param {Point[]} points
   * @param {number} place  of the series
   * @param {number} now
   * @param {Scale} scale
   */
  #line(points, place, now, scale) {
    let path = '';
    let pen = 'M';
    for (const { at, values } of points) {
      const value = values[place];
      if (value === null || value === undefined) {
        pen = 'M';
        continue;
      }
      path += `${pen}${this.#x(at, now).toFixed(1)} ${this.#y(value, scale).toFixed(1)}h0`; // a point of its own is a dot
      pen = 'L';
    }
    return path;
  }

  /**
   * @param {number} at
   * @param {number} now
   */
  #x(at, now) {
    const room = this.#width - MARGIN.left - MARGIN.right;
    return MARGIN.left + room * (1 - (now - at) / this.#options.spanMs);
  }

  /**
   * @param {number} value
   * @param {Scale} scale
   */
  #y(value, { low, high }) {
    const room = this.#options.height - MARGIN.top - MARGIN.bottom;
    return MARGIN.top + room * (1 - (value - low) / (high - low));
  }

  /** @param {Scale} scale */
  #scale(scale) {
    const { low, step, high } = scale;
    const values = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, place) => low + place * step);
    return values.flatMap((value, place) => {
      const y = this.#y(value, scale);
      const words = place === values.length - 1 ? `${exactNumber(value)} ${this.#options.unit}` : exactNumber(value);
      return [
        makeSvg('line', { x1: String(MARGIN.left), x2: String(this.#width - MARGIN.right), y1: String(y), y2: String(y) }),
        makeSvg('text', { x: String(MARGIN.left - 5), y: String(y + 4), 'text-anchor': 'end' }, words),
      ];
    });
  }

  /** @param {number} now */
  #times(now) {
    const spanS = this.#options.spanMs / 1000;
    const room = Math.max(1, Math.floor((this.#width - MARGIN.left) / TICK_WIDTH));
    const step = TICK_S.find((each) => spanS / each <= room) ?? spanS;
    const ticks = [];
    for (let ago = 0; ago < spanS; ago += step) {
      ticks.push(makeSvg('text', {
        x: String(this.#x(now - ago * 1000, now)), y: String(this.#options.height - 4),
        'text-anchor': ago ? 'middle' : 'end',
      }, ago ? agoWords(ago) : t('chart.now')));
    }
    return ticks;
  }
}

/**
 * From the low to the high, in steps that are easy to read.
 * @param {Point[]} points
 * @returns {Scale}
 */
function fittingScale(points) {
  const values = points.flatMap((point) => point.values.filter((value) => value !== null));
  const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  const rough = (high - low) / 2 || Math.abs(high) / 10 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * (STEPS.find((each) => each * power >= rough) ?? 10);
  return { low: Math.floor(low / step) * step, step, high: Math.max(Math.ceil(high / step), Math.floor(low / step) + 1) * step };
}

/** The next number above all values that is easy to read. @param {Point[]} points */
function scaleTop(points) {
  const most = Math.max(0, ...points.flatMap(({ values }) => values.map((value) => value ?? 0)));
  if (most <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return power * (STEPS.find((step) => step * power >= most) ?? 10);
}

/** @param {number} seconds */
function agoWords(seconds) {
  return seconds < 120 ? `−${seconds} s` : seconds < 7_200 ? `−${number(seconds / 60)} min` : `−${number(seconds / 3_600)} h`;
}
