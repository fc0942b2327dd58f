/** The page of one device: all its series with charts, and its latest frames. */

import { copyText } from '../lib/clipboard.js';
import { byId, make, setText } from '../lib/dom.js';
import { formatTime } from '../lib/format-time.js';
import { t } from '../lib/i18n.js';
import { LineChart } from '../lib/line-chart.js';
import { RingBuffer } from '../lib/ring-buffer.js';
import { devicePath } from '../lib/socket-path.js';
import { formatOffline, formatRate, formatValue, formatValueAge, freshness } from './format-value.js';
import { numericValue } from './numeric-value.js';
import { deviceKey } from './series.js';

/**
 * @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame
 * @typedef {import('./series.js').Series} Series
 * @typedef {{root: HTMLElement, value: HTMLElement, note: HTMLElement, chart: LineChart | null}} Card
 */

const FRAMES_MAX = 100;
const SHOWN_MAX_CHARS = 2_000; // the copy button copies all
const CHARTS_MAX = 24;
const CHART_SPAN_MS = 600_000;
const CHART_HEIGHT = 120;
const PAINT_EVERY_MS = 500;

export class DevicePage {
  #store;
  #key = '';
  /** @type {Map<Series, Card>} */
  #cards = new Map();
  /** @type {RingBuffer<{at: number, frame: DeviceFrame, source: string}>} */
  #frames = new RingBuffer(FRAMES_MAX);
  /** @type {DeviceFrame[]} those in the page, newest first */
  #listed = [];
  /** The number of frames since the last update of the list. */
  #newCount = 0;
  #chartCount = 0;
  #paused = false;
  #timer = 0;

  /** @param {import('./series-store.js').SeriesStore} store */
  constructor(store) {
    this.#store = store;
    byId('device-pause').addEventListener('click', () => this.#pause(!this.#paused));
    bindCopyButton('device-copy', 'device-copied', () => this.#listed.map((frame) => JSON.stringify(frame)).join('\n'));
    bindCopyButton('device-url-copy', 'device-url-copied', () => byId('device-url').textContent ?? '');
  }

  /**
   * @param {string} tenant
   * @param {string} device
   */
  show(tenant, device) {
    this.hide();
    this.#key = deviceKey({ tenant_id: tenant, device_id: device });
    setText(byId('device-name'), device);
    setText(byId('device-tenant'), tenant);
    setText(byId('device-url'), `${location.origin.replace('http', 'ws')}${devicePath(device)}`);
    for (const id of ['device-copied', 'device-url-copied']) setText(byId(id), '');
    this.#pause(false);
    this.#frames.clear();
    [this.#listed, this.#newCount, this.#chartCount] = [[], 0, 0];
    byId('device-frames').replaceChildren();
    this.#cards.clear();
    byId('device-series').replaceChildren();
    this.#paint();
    this.#timer = window.setInterval(() => this.#paint(), PAINT_EVERY_MS);
  }

  focus() { byId('device-name').focus(); }

  hide() {
    clearInterval(this.#timer);
    this.#key = '';
  }

  /**
   * Add a frame if it belongs to this device.
   * @param {DeviceFrame} frame  of any device
   * @param {Series | null} series  null if the frame changes nothing
   * @param {string} source  the name of the socket that received it
   */
  addFrame(frame, series, source) {
    if (!this.#key || !series || deviceKey(frame) !== this.#key) return;
    this.#frames.push({ at: Date.now(), frame, source });
    this.#newCount += 1;
    const last = series.points.last;
    if (last && numericValue(frame.data) !== null) this.#cards.get(series)?.chart?.push(last.at, [last.value]);
  }

  /** @param {boolean} paused */
  #pause(paused) {
    this.#paused = paused;
    const button = byId('device-pause');
    button.setAttribute('aria-pressed', String(paused));
    setText(button, t(paused ? 'devices.resume' : 'devices.pause'));
  }

  #paint() {
    if (document.hidden) return;
    const now = Date.now();
    const all = this.#store.device(this.#key);
    byId('device-unknown').hidden = all.length > 0;
    setText(byId('device-presence'), formatOffline({ offline: this.#store.offline(this.#key) }));
    for (const series of all) this.#paintCard(series, this.#cards.get(series) ?? this.#addCard(series), now);
    if (this.#newCount && !this.#paused) this.#listNewFrames();
  }

  /** Add only the new frames: to create 100 large ones twice a second is slow. */
  #listNewFrames() {
    const newest = this.#frames.toArray().reverse();
    const list = byId('device-frames');
    list.prepend(...newest.slice(0, this.#newCount).map(({ at, frame, source }) => {
      const socket = make('span', { class: 'muted' }, t(`socket.${/** @type {'tenant'} */ (source)}`));
      return make('li', {}, make('time', {}, formatTime(at)), ' ', socket, ' ', make('code', {}, truncate(JSON.stringify(frame))));
    }));
    while (list.childElementCount > FRAMES_MAX) list.lastElementChild?.remove();
    this.#listed = newest.map(({ frame }) => frame);
    this.#newCount = 0;
  }

  /** @param {Series} series */
  #addCard(series) {
    const value = make('p', { class: 'mono' });
    const note = make('p', { class: 'muted' });
    const root = make('section', { class: 'card' }, make('h3', {}, series.name || '–'), value, note);
    byId('device-series').append(root);
    /** @type {Card} */
    const card = { root, value, note, chart: null };
    this.#cards.set(series, card);
    return card;
  }

  /**
   * Add the chart, when there is a number to draw.
   * @param {Series} series
   * @param {Element} root
   */
  #addChart(series, root) {
    this.#chartCount += 1;
    const chart = new LineChart(root, {
      title: `${series.device} ${series.name}`, unit: series.unit, spanMs: CHART_SPAN_MS, height: CHART_HEIGHT, autoScale: true,
      series: [{ label: series.name || '–', colour: 'var(--series-1)' }],
    });
    for (const point of series.points.toArray()) chart.push(point.at, [point.value]);
    return chart;
  }

  /**
   * @param {Series} series
   * @param {Card} card
   * @param {number} now
   */
  #paintCard(series, card, now) {
    const { root, value, note } = card;
    root.dataset.freshness = freshness(series);
    setText(value, truncate(formatValue(series.frame)));
    setText(note, `${formatValueAge(series, now)} · ${formatRate(series, now)} · ${series.frame.topic ?? ''}`);
    if (series.points.length && this.#chartCount < CHARTS_MAX) card.chart ??= this.#addChart(series, root);
    card.chart?.paint(now);
  }
}

/** @param {string} text */
function truncate(text) { return text.length > SHOWN_MAX_CHARS ? `${text.slice(0, SHOWN_MAX_CHARS)}…` : text; }

/**
 * Copy a text when the button is pressed and show whether it worked.
 * @param {string} button  its id
 * @param {string} status  the id of the element for the result
 * @param {() => string} text
 */
function bindCopyButton(button, status, text) {
  byId(button).addEventListener('click', async () => (
    setText(byId(status), t(await copyText(text()) ? 'copy.done' : 'copy.failed'))));
}
