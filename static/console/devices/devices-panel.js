/** The devices panel: a table of all series, a filter, and a page for each device. */

import { byId, find, setText } from '../lib/dom.js';
import { formatNumber, t, tPlural } from '../lib/i18n.js';
import { replaceFragment } from '../lib/navigation.js';
import { OnDemand } from '../lib/on-demand.js';
import { DeviceTable } from './device-table.js';
import { SeriesStore } from './series-store.js';
import { orderFromWord, orderToWord, TableHead } from './table-head.js';

/** @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame */
/** @typedef {import('./series-store.js').StateFilter} StateFilter */
/** @typedef {import('./sort-order.js').SortOrder} SortOrder */

const COUNT_EVERY_MS = 1_000;
const PENDING_MAX = 100;

export class DevicesPanel {
  #store = new SeriesStore();
  #table = new DeviceTable(this.#store);
  #page;
  /** @type {Parameters<import('../device-page/device-page.js').DevicePage['addFrame']>[]} frames that came while the page of a device was loading */
  #pending = [];
  #head = new TableHead(find(document, '#devices-scroll table', HTMLTableElement), (order) => this.#sort(order));
  #text = find(document, '#devices-filter', HTMLInputElement);
  #state = find(document, '#devices-choice', HTMLSelectElement);
  #hasRows = false;
  #shown = false;
  #wasListed = false;

  /** @param {() => string} ownTenant  the tenant of the token in use */
  constructor(ownTenant) {
    this.#page = new OnDemand(byId('device-page'), async () => {
      const { DevicePage } = await import('../device-page/device-page.js');
      return new DevicePage(this.#store, ownTenant);
    });
    for (const field of [this.#text, this.#state]) field.addEventListener('input', () => this.#filter());
    byId('devices-clear').addEventListener('click', () => this.#clearFilter());
    byId('devices-csv').addEventListener('click', () => this.#export());
    setInterval(() => this.#updateCounts(), COUNT_EVERY_MS);
  }

  get size() { return this.#store.size; }

  get staleCount() { return this.#store.staleCount; }

  /**
   * Update the series of a device frame.
   * @param {DeviceFrame} frame
   * @param {string} text  of the frame
   * @param {string} source  the name of the socket that received it
   */
  handleFrame(frame, text, source) {
    const series = this.#store.update(frame, text, source);
    if (!series) return;
    if (this.#page.part) this.#page.part.addFrame(frame, text, series, source);
    else if (this.#pending.length < PENDING_MAX) this.#pending.push([frame, text, series, source]);
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

  /**
   * @param {string} rest  empty, or `tenant/device` for the page of a device
   * @param {string} query  the filter and the order of the table, see `#writeQuery`
   */
  show(rest, query) {
    const [tenant, device] = rest.split('/').map(decodePart);
    const wasShown = this.#shown; // otherwise the navigation moves the focus
    this.hide();
    this.#shown = true;
    byId('device-page').hidden = !device;
    byId('devices-list').hidden = Boolean(device);
    if (device) this.#showDevice(tenant, device, wasShown);
    else this.#showTable(query);
    if (wasShown && !device) this.#table.focus();
    this.#updateCounts();
  }

  /** @param {string} tenant @param {string} device @param {boolean} focus */
  async #showDevice(tenant, device, focus) {
    this.#pending = [];
    setText(byId('device-name'), device); // its name comes when the page is loaded
    await this.#page.show(tenant, device);
    for (const each of this.#pending.splice(0)) this.#page.part?.addFrame(...each);
    if (focus) this.#page.part?.focus();
  }

  async #export() {
    const [{ toCsv }, { download }] = await Promise.all([import('./series-csv.js'), import('../lib/download.js')]);
    download('hermes-devices.csv', 'text/csv;charset=utf-8', toCsv(this.#store.visible));
  }

  hide() {
    this.#shown = false;
    this.#table.hide();
    this.#page.hide();
  }

  /** A link without a query comes back to the table as it was left. @param {string} query */
  #showTable(query) {
    if (query || !this.#wasListed) this.#readQuery(new URLSearchParams(query));
    else this.#writeQuery();
    this.#wasListed = true;
    this.#table.show();
  }

  /** @param {URLSearchParams} query */
  #readQuery(query) {
    this.#text.value = query.get('filter') ?? '';
    this.#state.value = query.get('show') ?? '';
    if (!this.#state.value) this.#state.value = 'all';
    this.#applyFilter();
    this.#applyOrder(orderFromWord(query.get('sort') ?? ''));
  }

  /** Write the filter and the order into the URL, so that a link or a bookmark restores them. */
  #writeQuery() {
    const entries = { filter: this.#text.value.trim(), show: this.#state.value === 'all' ? '' : this.#state.value, sort: orderToWord(this.#store.order) };
    const query = new URLSearchParams(Object.entries(entries).filter(([, value]) => value)).toString();
    replaceFragment(query ? `devices?${query}` : 'devices');
  }

  #filter() {
    this.#applyFilter();
    this.#writeQuery();
  }

  #clearFilter() {
    [this.#text.value, this.#state.value] = ['', 'all'];
    this.#filter();
    this.#text.focus(); // the button is hidden now
  }

  #applyFilter() {
    this.#store.filter(this.#text.value, /** @type {StateFilter} */ (this.#state.value));
    this.#table.scrollToTop();
    this.#updateCounts();
  }

  /** @param {SortOrder | null} order */
  #sort(order) {
    this.#applyOrder(order);
    this.#writeQuery();
  }

  /** @param {SortOrder | null} order */
  #applyOrder(order) {
    this.#store.sort(order);
    this.#head.show(order);
    this.#table.scrollToTop();
  }

  #updateCounts() {
    this.#store.refresh();
    const { size, visible, overflowCount, max } = this.#store;
    this.#hasRows = size > 0;
    setText(byId('devices-count'), formatNumber(this.#store.deviceCount));
    setText(byId('devices-shown'), visible.length === size ? tPlural('devices.rows', size) : t('devices.of', { n: formatNumber(visible.length), total: formatNumber(size) }));
    byId('devices-empty').hidden = this.#hasRows;
    byId('devices-no-match').hidden = !this.#hasRows || visible.length > 0;
    byId('devices-scroll').hidden = !visible.length;
    /** @type {HTMLButtonElement} */ (byId('devices-csv')).disabled = !visible.length;
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
