/** The devices: a table of all their series, a filter, and a page for each device. */

import { byId, find, setText } from '../element.js';
import { number, plural, t } from '../strings.js';
import { DevicePage } from './device-page.js';
import { DeviceTable } from './device-table.js';
import { Fleet } from './fleet.js';

/** @typedef {import('../../hermes-client.js').Frame} Frame */

const COUNT_EVERY_MS = 1_000;

export class DevicesPanel {
  #fleet = new Fleet();
  #table = new DeviceTable(this.#fleet);
  #page = new DevicePage(this.#fleet);
  #text = find(document, '#devices-filter', HTMLInputElement);
  #choice = find(document, '#devices-choice', HTMLSelectElement);
  #listed = false;
  #shown = false;

  constructor() {
    for (const field of [this.#text, this.#choice]) field.addEventListener('input', () => this.#filter());
    setInterval(() => this.#count(), COUNT_EVERY_MS);
  }

  get size() { return this.#fleet.size; }

  get staleCount() { return this.#fleet.staleCount; }

  /**
   * @param {Frame} frame
   * @param {string} source  the name of the socket that brought it
   */
  take(frame, source) {
    const series = this.#fleet.take(frame, source);
    this.#page.take(frame, series, source);
    if (!series) return;
    this.#table.changed();
    if (!this.#listed) this.#count();
  }

  /** What only this socket has brought is stale from now on. @param {string} source */
  lose(source) { if (this.#fleet.lose(source)) this.#table.changed(); }

  /** A device came or went. @param {Frame} frame */
  showPresence(frame) {
    this.#fleet.showPresence(frame);
    this.#table.changed();
  }

  /** @param {string} rest  `tenant/device` for that device's page */
  show(rest) {
    const [tenant, device] = rest.split('/').map(decoded);
    const within = this.#shown; // from another panel, the navigation sees to the focus
    this.hide();
    this.#shown = true;
    byId('device-page').hidden = !device;
    byId('devices-list').hidden = Boolean(device);
    const part = device ? this.#page : this.#table;
    if (device) this.#page.show(tenant, device);
    else this.#table.show();
    if (within) part.focus();
    this.#count();
  }

  hide() {
    this.#shown = false;
    this.#table.hide();
    this.#page.hide();
  }

  #filter() {
    this.#fleet.filter(this.#text.value, /** @type {import('./fleet.js').Choice} */ (this.#choice.value));
    this.#table.restart();
    this.#count();
  }

  #count() {
    const { size, view, leftOut, max } = this.#fleet;
    this.#fleet.refresh();
    this.#listed = size > 0;
    setText(byId('devices-count'), number(this.#fleet.deviceCount));
    setText(byId('devices-shown'), view.length === size ? plural('devices.rows', size) : t('devices.of', { n: number(view.length), total: number(size) }));
    byId('devices-empty').hidden = this.#listed;
    byId('devices-scroll').hidden = !this.#listed;
    const full = byId('devices-full');
    full.hidden = !leftOut;
    if (leftOut) setText(full, t(leftOut < max ? 'devices.full' : 'devices.full_or_more', { max: number(max), n: number(leftOut) }));
  }
}

/** @param {string} part  of a URL; one that is wrongly encoded stands for itself */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
