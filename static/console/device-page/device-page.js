/** The page of one device: all its series with charts, and its latest frames. */

import { formatOffline } from '../devices/format-value.js';
import { deviceKey } from '../devices/series.js';
import { copyText } from '../lib/clipboard.js';
import { byId, make, setText } from '../lib/dom.js';
import { formatTime } from '../lib/format-time.js';
import { socketNames, t } from '../lib/i18n.js';
import { devicePath, socketUrl } from '../lib/page-urls.js';
import { RingBuffer } from '../lib/ring-buffer.js';
import { SeriesCard } from './series-card.js';

/**
 * @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame
 * @typedef {import('../devices/series.js').Series} Series
 * @typedef {{at: number, text: string, sources: string[], series: Series, label: HTMLElement}} ReceivedFrame
 */

const FRAMES_MAX = 100;
const SHOWN_MAX_CHARS = 2_000; // the copy button copies all
const CHARTS_MAX = 24;
const PAINT_EVERY_MS = 500;

export class DevicePage {
  #store;
  #ownTenant;
  #key = '';
  /** @type {Map<Series, SeriesCard>} */
  #cards = new Map();
  /** @type {RingBuffer<ReceivedFrame>} */
  #frames = new RingBuffer(FRAMES_MAX);
  /** @type {ReceivedFrame[]} those in the page, newest first */
  #listed = [];
  /** The number of frames since the last update of the list. */
  #newCount = 0;
  #chartCount = 0;
  #paused = false;
  #timer = 0;

  /**
   * @param {import('../devices/series-store.js').SeriesStore} store
   * @param {() => string} ownTenant  the tenant of the token in use
   */
  constructor(store, ownTenant) {
    this.#store = store;
    this.#ownTenant = ownTenant;
    byId('device-pause').addEventListener('click', () => this.#pause(!this.#paused));
    bindCopyButton('device-copy', 'device-copied', () => this.#listed.map(({ text }) => text).join('\n'));
    bindCopyButton('device-url-copy', 'device-url-copied', () => byId('device-url').textContent ?? '');
  }

  /**
   * @param {string} tenant
   * @param {string} device
   */
  show(tenant, device) {
    this.hide();
    this.#key = deviceKey({ tenant_id: tenant, device_id: device });
    setText(byId('device-id'), device);
    setText(byId('device-tenant'), tenant);
    setText(byId('device-url'), socketUrl(devicePath(device, tenant === this.#ownTenant() ? '' : tenant)));
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
   * @param {string} text  of the frame
   * @param {Series} series
   * @param {string} source  the name of the socket that received it
   */
  addFrame(frame, text, series, source) {
    if (!this.#key || deviceKey(frame) !== this.#key) return;
    this.#cards.get(series)?.addPoints();
    const repeated = this.#frames.toArray().find((each) => each.text === text && !each.sources.includes(source));
    if (repeated) repeated.sources.push(source); // another socket brought it, too
    else {
      this.#frames.push({ at: Date.now(), text, sources: [source], series, label: make('span', { class: 'muted' }) });
      this.#newCount += 1;
    }
    const { sources, label } = repeated ?? /** @type {ReceivedFrame} */ (this.#frames.last);
    setText(label, socketNames(sources));
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
    const name = this.#store.nameOf(this.#key);
    setText(byId('device-name'), name || (byId('device-id').textContent ?? ''));
    byId('device-id').hidden = !name;
    byId('device-unknown').hidden = all.length > 0;
    setText(byId('device-presence'), formatOffline({ offline: this.#store.offline(this.#key) }));
    for (const series of all) (this.#cards.get(series) ?? this.#addCard(series)).paint(now);
    if (this.#newCount && !this.#paused) this.#listNewFrames();
  }

  /** Add only the new frames: to create 100 large ones twice a second is slow. */
  #listNewFrames() {
    const newest = this.#frames.toArray().reverse();
    const list = byId('device-frames');
    list.prepend(...newest.slice(0, this.#newCount).map(({ at, text, label }) => (
      make('li', {}, make('time', {}, formatTime(at)), ' ', label, ' ', make('code', {}, truncate(text))))));
    while (list.childElementCount > FRAMES_MAX) list.lastElementChild?.remove();
    this.#listed = newest;
    this.#newCount = 0;
  }

  /** @param {Series} series */
  #addCard(series) {
    const card = new SeriesCard(series, {
      mayAddChart: () => (this.#chartCount += 1) <= CHARTS_MAX,
      choose: (pointer) => this.#store.chooseNumber(series, pointer, this.#earlierValues(series)),
    });
    byId('device-series').append(card.element);
    this.#cards.set(series, card);
    return card;
  }

  /** The values of a series before its last one, of the frames on this page. @param {Series} series */
  #earlierValues(series) {
    return this.#frames.toArray().filter((each) => each.series === series).slice(0, -1).map(({ at, text }) => ({ at, data: JSON.parse(text).data }));
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
