/** One device: all its series with their charts, and its frames as they come. */

import { LineChart } from '../chart.js';
import { copyText } from '../copy.js';
import { byId, make, setText } from '../element.js';
import { Ring } from '../ring.js';
import { t } from '../strings.js';
import { clockWords } from '../time-words.js';
import { deviceKey } from './series.js';
import { offlineWords, rateWords, valueAge, valueText } from './value-words.js';

/**
 * @typedef {import('../../hermes-client.js').Frame} Frame
 * @typedef {import('./series.js').Series} Series
 * @typedef {{root: HTMLElement, value: HTMLElement, note: HTMLElement, chart: LineChart | null}} Card
 */

const FRAMES_KEPT = 100;
const CHARTS_MAX = 24;
const CHART_SPAN_MS = 600_000;
const CHART_HEIGHT = 120;
const PAINT_EVERY_MS = 500;

export class DevicePage {
  #fleet;
  #key = '';
  /** @type {Map<Series, Card>} */
  #cards = new Map();
  /** @type {Ring<{at: number, frame: Frame}>} */
  #frames = new Ring(FRAMES_KEPT);
  #changed = false;
  #paused = false;
  #ticking = 0;

  /** @param {import('./fleet.js').Fleet} fleet */
  constructor(fleet) {
    this.#fleet = fleet;
    byId('device-pause').addEventListener('click', () => this.#pause(!this.#paused));
    byId('device-copy').addEventListener('click', async () => {
      const lines = this.#frames.toArray().map(({ frame }) => JSON.stringify(frame));
      setText(byId('device-copied'), t(await copyText(lines.join('\n')) ? 'copy.done' : 'copy.failed'));
    });
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
    setText(byId('device-url'), `${location.origin.replace('http', 'ws')}/ws/device/${encodeURIComponent(device)}`);
    setText(byId('device-copied'), '');
    this.#pause(false);
    this.#frames.clear();
    this.#cards.clear();
    byId('device-series').replaceChildren();
    this.#paint();
    this.#ticking = window.setInterval(() => this.#paint(), PAINT_EVERY_MS);
  }

  hide() {
    clearInterval(this.#ticking);
    this.#key = '';
  }

  /** @param {Frame} frame  of any device @param {Series | null} series  where it is news */
  take(frame, series) {
    if (!this.#key || !series || deviceKey(frame) !== this.#key) return;
    this.#frames.push({ at: Date.now(), frame });
    this.#changed = true;
    const last = series.numbers.last;
    if (last) this.#cards.get(series)?.chart?.push(last.at, [last.value]);
  }

  /** @param {boolean} paused */
  #pause(paused) {
    this.#paused = paused;
    this.#changed = true;
    const button = byId('device-pause');
    button.setAttribute('aria-pressed', String(paused));
    setText(button, t(paused ? 'devices.resume' : 'devices.pause'));
  }

  #paint() {
    if (document.hidden) return;
    const now = Date.now();
    const all = this.#fleet.device(this.#key);
    byId('device-unknown').hidden = all.length > 0;
    setText(byId('device-presence'), all.length ? offlineWords(all[0]) : '');
    for (const series of all) this.#paintCard(series, this.#cards.get(series) ?? this.#addCard(series), now);
    if (!this.#changed || this.#paused) return;
    this.#changed = false;
    byId('device-frames').replaceChildren(...this.#frames.toArray().reverse().map(({ at, frame }) => (
      make('li', {}, make('time', {}, clockWords(at)), ' ', make('code', {}, JSON.stringify(frame))))));
  }

  /** @param {Series} series */
  #addCard(series) {
    const value = make('p', { class: 'mono' });
    const note = make('p', { class: 'muted' });
    const root = make('section', { class: 'card' }, make('h3', {}, series.name || '–'), value, note);
    const { numbers } = series;
    const chart = numbers.length && this.#cards.size < CHARTS_MAX ? new LineChart(root, {
      title: `${series.device} ${series.name}`, unit: series.unit, spanMs: CHART_SPAN_MS, height: CHART_HEIGHT, fits: true,
      series: [{ label: series.name || '–', colour: 'var(--series-1)' }],
    }) : null;
    for (const point of numbers.toArray()) chart?.push(point.at, [point.value]);
    byId('device-series').append(root);
    const card = { root, value, note, chart };
    this.#cards.set(series, card);
    return card;
  }

  /**
   * @param {Series} series
   * @param {Card} card
   * @param {number} now
   */
  #paintCard(series, { root, value, note, chart }, now) {
    root.dataset.freshness = series.stale ? 'stale' : 'live';
    setText(value, valueText(series.frame.data));
    setText(note, `${valueAge(series, now)} · ${rateWords(series, now)} · ${series.frame.topic ?? ''}`);
    chart?.paint(now);
  }
}
