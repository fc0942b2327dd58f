/** A card of the device page: the last value of one series, the choice of its number, and the chart of that. */

import { candidatesOf, pointerOf } from '../devices/charted-number.js';
import { formatRate, formatValue, formatValueAge, freshness } from '../devices/format-value.js';
import { make, setText } from '../lib/dom.js';
import { t } from '../lib/i18n.js';
import { LineChart } from '../lib/line-chart.js';

/**
 * @typedef {import('../devices/series.js').Series} Series
 *
 * @typedef {object} Dependencies
 * @property {() => boolean} mayAddChart  called once; a page has a limited number of charts
 * @property {(pointer: string | undefined) => void} choose  chart this number; undefined: automatic
 */

const SHOWN_MAX_CHARS = 2_000;
const CHART_SPAN_MS = 600_000;
const CHART_HEIGHT = 120;
const AUTOMATIC = 'automatic'; // no JSON pointer

export class SeriesCard {
  element;
  #series;
  #mayAddChart;
  #value = make('p', { class: 'mono value' });
  #note = make('p', { class: 'muted' });
  #select = make('select');
  #choice = make('label', { class: 'chart-choice', hidden: '' }, t('devices.chart'), this.#select);
  #figure = make('div');
  /** @type {LineChart | null} */
  #chart = null;
  #shownVersion = -1;
  #shownOptions = '';
  #shownPoints = { clears: -1, pushed: 0 };

  /**
   * @param {Series} series
   * @param {Dependencies} dependencies
   */
  constructor(series, { mayAddChart, choose }) {
    this.#series = series;
    this.#mayAddChart = mayAddChart;
    this.element = make('section', { class: 'card' }, make('h3', {}, series.name || '–'), this.#value, this.#note, this.#choice, this.#figure);
    this.#select.addEventListener('change', () => {
      choose(this.#select.value === AUTOMATIC ? undefined : this.#select.value);
      this.paint(Date.now());
    });
  }

  /** @param {number} now  Unix ms */
  paint(now) {
    const series = this.#series;
    this.element.dataset.freshness = freshness(series);
    setText(this.#note, `${formatValueAge(series, now)} · ${formatRate(series, now)} · ${series.frame.topic ?? ''}`);
    if (series.version !== this.#shownVersion) this.#paintValue();
    this.addPoints();
    this.#chart?.paint(now);
  }

  #paintValue() {
    this.#shownVersion = this.#series.version;
    setText(this.#value, truncate(formatValue(this.#series)));
    if (document.activeElement !== this.#select || !this.#shownOptions) this.#paintOptions();
  }

  /** Offer the numbers of the last value, and the one that the user has chosen before. */
  #paintOptions() {
    const { frame, chartedPath, isChartChosen } = this.#series;
    const paths = candidatesOf(frame.data).map(({ path }) => path);
    const chosen = isChartChosen && chartedPath ? pointerOf(chartedPath) : AUTOMATIC;
    if (isChartChosen && chartedPath && !paths.some((path) => pointerOf(path) === chosen)) paths.push(chartedPath);
    const automatic = chartedPath?.length && !isChartChosen ? t('devices.chart.automatic_of', { name: chartedPath.join('/') }) : t('devices.chart.automatic');
    const options = [{ value: AUTOMATIC, label: automatic }, ...paths.map((path) => ({ value: pointerOf(path), label: path.join('/') || '–' }))];
    this.#choice.hidden = paths.length < 2 && !isChartChosen;
    if (JSON.stringify(options) !== this.#shownOptions) {
      this.#select.replaceChildren(...options.map(({ value, label }) => make('option', { value }, label)));
      this.#shownOptions = JSON.stringify(options);
    }
    this.#select.value = chosen;
  }

  /** Add the new points of the series to the chart; a new chart is begun when another number is charted. */
  addPoints() {
    const { points, numberText } = this.#series;
    const { clears, pushed } = this.#shownPoints;
    if (points.clears !== clears && points.length) this.#replaceChart();
    if (!this.#chart) return;
    const isSame = points.clears === clears;
    const fresh = isSame ? points.pushed - pushed : points.length;
    for (const { at, value } of fresh ? points.toArray().slice(-fresh) : []) this.#chart.push(at, [Number.isNaN(value) ? null : value], [numberText]);
    this.#shownPoints = { clears: points.clears, pushed: points.pushed };
  }

  #replaceChart() {
    if (!this.#chart && !this.#mayAddChart()) return;
    this.#figure.replaceChildren();
    const { device, deviceName, name, unit, chartedPath } = this.#series;
    const label = (chartedPath?.join('/') === 'value' ? '' : chartedPath?.join('/')) || name || '–';
    this.#chart = new LineChart(this.#figure, {
      title: `${deviceName.text || device} ${name}`, unit, spanMs: CHART_SPAN_MS, height: CHART_HEIGHT, autoScale: true,
      series: [{ label, colour: 'var(--series-1)' }],
    });
  }
}

/** @param {string} text */
function truncate(text) { return text.length > SHOWN_MAX_CHARS ? `${text.slice(0, SHOWN_MAX_CHARS)}…` : text; }
