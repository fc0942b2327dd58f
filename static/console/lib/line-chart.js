/**
 * A live line chart: time on the x axis, a scale with its unit on the left, a legend with the latest values.
 *
 * @typedef {object} Series
 * @property {string} label
 * @property {string} colour  any CSS colour: `var(--series-1)`
 * @property {boolean} [optional]  not in the legend until it has a value
 *
 * @typedef {object} ChartOptions
 * @property {string} title  for screen readers
 * @property {Series[]} series
 * @property {string} unit
 * @property {number} [spanMs]  the time span it shows
 * @property {number} [height]  in CSS pixels
 * @property {boolean} [autoScale]  fit the scale to the values instead of starting at 0
 *
 * @typedef {{low: number, step: number, high: number}} Scale
 * @typedef {{at: number, values: (number | null)[]}} Point  null makes a gap in the line
 */

import { make, makeSvg, setText } from './dom.js';
import { formatExact, formatNumber, t } from './i18n.js';
import { RingBuffer } from './ring-buffer.js';

const SPAN_MS = 120_000;
const HEIGHT = 150;
const POINTS_MAX = 600;
const MARGIN = { left: 68, right: 10, top: 8, bottom: 20 };
const STEPS = [1, 2, 2.5, 5, 10]; // round steps that are easy to read
const TICK_S = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400];
const TICK_WIDTH_PX = 70; // the width of a time label
let chartCount = 0;

export class LineChart {
  /** @type {RingBuffer<Point>} */
  #points = new RingBuffer(POINTS_MAX);
  #options;
  #svg;
  #grid = makeSvg('g', { class: 'grid' });
  #paths;
  #latest;
  #legend;
  #caption;
  /** @type {(string | undefined)[]} the latest values as they were sent; otherwise they are formatted */
  #texts = [];
  #width = 0;

  /**
   * @param {Element} root  the parent element
   * @param {ChartOptions} options
   */
  constructor(root, { spanMs = SPAN_MS, height = HEIGHT, ...options }) {
    this.#options = { spanMs, height, ...options };
    this.#paths = options.series.map(({ colour }) => {
      const path = makeSvg('path', { class: 'line' });
      path.style.stroke = colour;
      return path;
    });
    chartCount += 1;
    const titleId = `chart-${chartCount}`;
    this.#svg = makeSvg('svg', { role: 'img', 'aria-labelledby': titleId, height: String(height) },
      makeSvg('title', { id: titleId }, options.title), this.#grid, ...this.#paths);
    this.#latest = options.series.map(() => make('b', {}, '–'));
    this.#legend = this.#latest.map((latest, index) => makeKey(options.series[index], latest));
    this.#caption = make('figcaption', {}, ...this.#legend.filter((_, index) => !options.series[index].optional));
    root.append(make('figure', { class: 'chart' }, this.#caption, this.#svg));
  }

  /**
   * @param {number} at  Unix ms, not earlier than the point before
   * @param {(number | null)[]} values  one for each series
   * @param {(string | undefined)[]} [texts]  the values as they were sent, for the legend
   */
  push(at, values, texts = []) {
    this.#points.push({ at, values });
    this.#texts = texts;
  }

  clear() { this.#points = new RingBuffer(POINTS_MAX); }

  /** Draw the chart, unless it is hidden; call it at most once a second. @param {number} [now]  Unix ms */
  paint(now = Date.now()) {
    this.#width = this.#svg.clientWidth;
    if (!this.#width) return;
    this.#svg.setAttribute('viewBox', `0 0 ${this.#width} ${this.#options.height}`);
    const shown = this.#points.toArray().filter(({ at }) => at >= now - this.#options.spanMs);
    const scale = this.#options.autoScale ? autoScaleOf(shown) : { low: 0, step: roundUpScale(shown) / 2, high: roundUpScale(shown) };
    this.#paths.forEach((path, index) => path.setAttribute('d', this.#linePath(shown, index, now, scale)));
    this.#grid.replaceChildren(...this.#scaleLines(scale), ...this.#timeTicks(now));
    this.#latest.forEach((element, index) => {
      const value = this.#points.last?.values[index];
      const isKnown = value !== null && value !== undefined;
      setText(element, isKnown ? `${this.#texts[index] ?? formatNumber(value)} ${this.#options.unit}` : '–');
      if (isKnown && !this.#legend[index].isConnected) this.#caption.append(this.#legend[index]);
    });
  }

  /**
   * @param {Point[]} points
   * @param {number} index  of the series
   * @param {number} now
   * @param {Scale} scale
   */
  #linePath(points, index, now, scale) {
    let path = '';
    let pen = 'M';
    for (const { at, values } of points) {
      const value = values[index];
      if (value === null || value === undefined) {
        pen = 'M';
        continue;
      }
      path += `${pen}${this.#x(at, now).toFixed(1)} ${this.#y(value, scale).toFixed(1)}h0`; // h0 makes a dot of a single point
      pen = 'L';
    }
    return path;
  }

  /**
   * @param {number} at
   * @param {number} now
   */
  #x(at, now) {
    const space = this.#width - MARGIN.left - MARGIN.right;
    return MARGIN.left + space * (1 - (now - at) / this.#options.spanMs);
  }

  /**
   * @param {number} value
   * @param {Scale} scale
   */
  #y(value, { low, high }) {
    const space = this.#options.height - MARGIN.top - MARGIN.bottom;
    return MARGIN.top + space * (1 - (value - low) / (high - low));
  }

  /** @param {Scale} scale */
  #scaleLines(scale) {
    const { low, step, high } = scale;
    const values = Array.from({ length: Math.round((high - low) / step) + 1 }, (_, index) => low + index * step);
    return values.flatMap((value, index) => {
      const y = this.#y(value, scale);
      const text = index === values.length - 1 ? `${formatExact(value)} ${this.#options.unit}` : formatExact(value);
      return [
        makeSvg('line', { x1: String(MARGIN.left), x2: String(this.#width - MARGIN.right), y1: String(y), y2: String(y) }),
        makeSvg('text', { x: String(MARGIN.left - 5), y: String(y + 4), 'text-anchor': 'end' }, text),
      ];
    });
  }

  /** @param {number} now */
  #timeTicks(now) {
    const spanS = this.#options.spanMs / 1000;
    const space = Math.max(1, Math.floor((this.#width - MARGIN.left) / TICK_WIDTH_PX));
    const step = TICK_S.find((each) => spanS / each <= space) ?? spanS;
    const ticks = [];
    for (let ago = 0; ago < spanS; ago += step) {
      ticks.push(makeSvg('text', {
        x: String(this.#x(now - ago * 1000, now)), y: String(this.#options.height - 4),
        'text-anchor': ago ? 'middle' : 'end',
      }, ago ? formatTickAge(ago) : t('chart.now')));
    }
    return ticks;
  }
}

/**
 * An entry of the legend.
 * @param {Series} series
 * @param {HTMLElement} latest  shows its latest value
 */
function makeKey({ label, colour }, latest) {
  const swatch = make('span', { class: 'swatch', 'aria-hidden': 'true' });
  swatch.style.background = colour;
  return make('span', { class: 'key' }, swatch, `${label} `, latest);
}

/**
 * Fit a scale with easy-to-read steps to the values.
 * @param {Point[]} points
 * @returns {Scale}
 */
function autoScaleOf(points) {
  const values = points.flatMap((point) => point.values.filter((value) => value !== null));
  const [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  const rough = (high - low) / 2 || Math.abs(high) / 10 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * (STEPS.find((each) => each * power >= rough) ?? 10);
  return { low: Math.floor(low / step) * step, step, high: Math.max(Math.ceil(high / step), Math.floor(low / step) + 1) * step };
}

/** The smallest easy-to-read number that is not below any value. @param {Point[]} points */
function roundUpScale(points) {
  const highest = Math.max(0, ...points.flatMap(({ values }) => values.map((value) => value ?? 0)));
  if (highest <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(highest));
  return power * (STEPS.find((step) => step * power >= highest) ?? 10);
}

/** @param {number} seconds */
function formatTickAge(seconds) {
  return seconds < 120 ? `−${seconds} s` : seconds < 7_200 ? `−${formatNumber(seconds / 60)} min` : `−${formatNumber(seconds / 3_600)} h`;
}
