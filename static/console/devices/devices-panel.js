/** The devices panel: a table of all series, a filter, and a page for each device. */

import { byId, find, setText } from '../lib/dom.js';
import { formatNumber, t, tPlural } from '../lib/i18n.js';
import { DevicePage } from './device-page.js';
import { DeviceTable } from './device-table.js';
import { SeriesStore } from './series-store.js';

/** @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame */

const COUNT_EVERY_MS = 1_000;

export class DevicesPanel {
  #store = new SeriesStore();
  #table = new DeviceTable(this.#store);
  #page = new DevicePage(this.#store);
  #text = find(document, '#devices-filter', HTMLInputElement);
  #state = find(document, '#devices-choice', HTMLSelectElement);
  #hasRows = false;
  #shown = false;

  constructor() {
    for (const field of [this.#text, this.#state]) field.addEventListener('input', () => this.#filter());
    setInterval(() => this.#updateCounts(), COUNT_EVERY_MS);
  }

  get size() { return this.#store.size; }

  get staleCount() { return this.#store.staleCount; }

  /**
   * Update the series of a device frame.
   * @param {DeviceFrame} frame
   * @param {string} source  the name of the socket that received it
   */
  handleFrame(frame, source) {
    const series = this.#store.update(frame, source);
    this.#page.addFrame(frame, series, source);
    if (!series) return;
    this.#table.requestPaint();
    if (!this.#hasRows) this.#updateCounts();
  }

  /** Mark as stale the values that only this socket delivers. @param {string} source */
  markSourceLost(source) { if (this.#store.markSourceLost(source)) this.#table.requestPaint(); }

  /** Update whether a device is online. @param {import('../../hermes-client.js').PresenceFrame} frame  of channel `status` */
  updatePresence(frame) {
    this.#store.updatePresence(frame);
    this.#table.requestPaint();
  }

  /** @param {string} rest  empty, or `tenant/device` for the page of a device */
  show(rest) {
    const [tenant, device] = rest.split('/').map(decodePart);
    const wasShown = this.#shown; // otherwise the navigation moves the focus
    this.hide();
    this.#shown = true;
    byId('device-page').hidden = !device;
    byId('devices-list').hidden = Boolean(device);
    const part = device ? this.#page : this.#table;
    if (device) this.#page.show(tenant, device);
    else this.#table.show();
    if (wasShown) part.focus();
    this.#updateCounts();
  }

  hide() {
    this.#shown = false;
    this.#table.hide();
    this.#page.hide();
  }

  #filter() {
    this.#store.filter(this.#text.value, /** @type {import('./series-store.js').StateFilter} */ (this.#state.value));
    this.#table.scrollToTop();
    this.#updateCounts();
  }

  #updateCounts() {
    const { size, visible, overflowCount, max } = this.#store;
    this.#store.refresh();
    this.#hasRows = size > 0;
    setText(byId('devices-count'), formatNumber(this.#store.deviceCount));
    setText(byId('devices-shown'), visible.length === size ? tPlural('devices.rows', size) : t('devices.of', { n: formatNumber(visible.length), total: formatNumber(size) }));
    byId('devices-empty').hidden = this.#hasRows;
    byId('devices-scroll').hidden = !this.#hasRows;
    const full = byId('devices-full');
    full.hidden = !overflowCount;
    if (overflowCount) setText(full, t(overflowCount < max ? 'devices.full' : 'devices.full_or_more', { max: formatNumber(max), n: formatNumber(overflowCount) }));
  }
}

/** Percent-decode a part of a URL; return it unchanged if it is not valid. @param {string} part */
function decodePart(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
