/** One device: all its series with their charts, and its frames as they come. */

import { LineChart } from '../chart.js';
import { copyText } from '../copy.js';
import { byId, make, setText } from '../element.js';
import { Ring } from '../ring.js';
import { t } from '../strings.js';
import { clockWords } from '../time-words.js';
import { numberIn } from './numbers.js';
import { deviceKey } from './series.js';
import { freshness, offlineWords, rateWords, valueAge, valueText } from './value-words.js';

/**
 * @typedef {import('../../hermes-client.js').Frame} Frame
 * @typedef {import('./series.js').Series} Series
 * @typedef {{root: HTMLElement, value: HTMLElement, note: HTMLElement, chart: LineChart | null}} Card
 */

const FRAMES_KEPT = 100;
const SHOWN_CHARS = 2_000; // a copy has all of it
const CHARTS_MAX = 24;
const CHART_SPAN_MS = 600_000;
const CHART_HEIGHT = 120;
const PAINT_EVERY_MS = 500;

export class DevicePage {
  #fleet;
  #key = '';
  /** @type {Map<Series, Card>} */
  #cards = new Map();
  /** @type {Ring<{at: number, frame: Frame, source: string}>} */
  #frames = new Ring(FRAMES_KEPT);
  /** @type {Frame[]} those on the screen, the newest first */
  #listed = [];
  /** How many have come since they were listed. */
  #news = 0;
  #charts = 0;
  #paused = false;
  #ticking = 0;

  /** @param {import('./fleet.js').Fleet} fleet */
  constructor(fleet) {
    this.#fleet = fleet;
    byId('device-pause').addEventListener('click', () => this.#pause(!this.#paused));
    offerCopy('device-copy', 'device-copied', () => this.#listed.map((frame) => JSON.stringify(frame)).join('\n'));
    offerCopy('device-url-copy', 'device-url-copied', () => byId('device-url').textContent ?? '');
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
    for (const id of ['device-copied', 'device-url-copied']) setText(byId(id), '');
    this.#pause(false);
    this.#frames.clear();
    [this.#listed, this.#news, this.#charts] = [[], 0, 0];
    byId('device-frames').replaceChildren();
    this.#cards.clear();
    byId('device-series').replaceChildren();
    this.#paint();
    this.#ticking = window.setInterval(() => this.#paint(), PAINT_EVERY_MS);
  }

  focus() { byId('device-name').focus(); }

  hide() {
    clearInterval(this.#ticking);
    this.#key = '';
  }

  /**
   * @param {Frame} frame  of any device
   * @param {Series | null} series  where it is news
   * @param {string} source  the name of the socket that brought it: several may
   */
  take(frame, series, source) {
    if (!this.#key || !series || deviceKey(frame) !== this.#key) return;
    this.#frames.push({ at: Date.now(), frame, source });
    this.#news += 1;
    const last = series.numbers.last;
    if (last && numberIn(frame.data) !== null) this.#cards.get(series)?.chart?.push(last.at, [last.value]);
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
    const all = this.#fleet.device(this.#key);
    byId('device-unknown').hidden = all.length > 0;
    setText(byId('device-presence'), offlineWords({ offline: this.#fleet.offline(this.#key) }));
    for (const series of all) this.#paintCard(series, this.#cards.get(series) ?? this.#addCard(series), now);
    if (this.#news && !this.#paused) this.#list();
  }

  /** Only what is new is made: a hundred large frames twice a second would be felt. */
  #list() {
    const newest = this.#frames.toArray().reverse();
    const list = byId('device-frames');
    list.prepend(...newest.slice(0, this.#news).map(({ at, frame, source }) => {
      const socket = make('span', { class: 'muted' }, t(`socket.${/** @type {'tenant'} */ (source)}`));
      return make('li', {}, make('time', {}, clockWords(at)), ' ', socket, ' ', make('code', {}, cut(JSON.stringify(frame))));
    }));
    while (list.childElementCount > FRAMES_KEPT) list.lastElementChild?.remove();
    this.#listed = newest.map(({ frame }) => frame);
    this.#news = 0;
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
   * Once there is a number to draw.
   * @param {Series} series
   * @param {Element} root
   */
  #addChart(series, root) {
    this.#charts += 1;
    const chart = new LineChart(root, {
      title: `${series.device} ${series.name}`, unit: series.unit, spanMs: CHART_SPAN_MS, height: CHART_HEIGHT, fits: true,
      series: [{ label: series.name || '–', colour: 'var(--series-1)' }],
    });
    for (const point of series.numbers.toArray()) chart.push(point.at, [point.value]);
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
    setText(value, cut(valueText(series.frame.data)));
    setText(note, `${valueAge(series, now)} · ${rateWords(series, now)} · ${series.frame.topic ?? ''}`);
    if (series.numbers.length && this.#charts < CHARTS_MAX) card.chart ??= this.#addChart(series, root);
    card.chart?.paint(now);
  }
}

/** @param {string} text */
function cut(text) { return text.length > SHOWN_CHARS ? `${text.slice(0, SHOWN_CHARS)}…` : text; }

/**
 * @param {string} button  its id
 * @param {string} answer  the id of where it says how it went
 * @param {() => string} text
 */
function offerCopy(button, answer, text) {
  byId(button).addEventListener('click', async () => (
    setText(byId(answer), t(await copyText(text()) ? 'copy.done' : 'copy.failed'))));
}
