/** The table: however many series there are, only the rows in view are in the page. */

import { byId, find } from '../element.js';
import { DeviceRow } from './device-row.js';

const MARGIN_ROWS = 6; // above and below the view, so that a scroll shows no hole
const PAINT_EVERY_MS = 100; // eyes read no faster
const AGES_EVERY_MS = 1_000;

export class DeviceTable {
  #fleet;
  #region = byId('devices-scroll');
  #body = byId('devices-rows');
  #above = find(this.#region, '.spacer.above td', HTMLElement);
  #below = find(this.#region, '.spacer.below td', HTMLElement);
  /** @type {DeviceRow[]} */
  #rows = [];
  #shown = false;
  #pending = 0;
  #painted = 0;
  #ticking = 0;

  /** @param {import('./fleet.js').Fleet} fleet */
  constructor(fleet) {
    this.#fleet = fleet;
    this.#region.addEventListener('scroll', () => this.#paintNow());
    new ResizeObserver(() => this.#paintNow()).observe(this.#region);
  }

  show() {
    this.#shown = true;
    this.#paintNow();
    this.#ticking = window.setInterval(() => this.#paintNow(), AGES_EVERY_MS);
  }

  hide() {
    this.#shown = false;
    clearInterval(this.#ticking);
  }

  /** From the first row on: what is shown is another choice. */
  restart() {
    this.#region.scrollTop = 0;
    this.#paintNow();
  }

  /** Something has changed: paint, but not for each of many changes. */
  changed() {
    if (this.#pending || !this.#shown) return;
    const wait = Math.max(0, this.#painted + PAINT_EVERY_MS - performance.now());
    this.#pending = window.setTimeout(() => this.#paintNow(), wait);
  }

  #paintNow() {
    clearTimeout(this.#pending);
    this.#pending = 0;
    if (!this.#shown || document.hidden) return;
    this.#painted = performance.now();
    const { view } = this.#fleet;
    const height = this.#rowHeight;
    const count = Math.min(view.length, Math.ceil(this.#region.clientHeight / height) + 2 * MARGIN_ROWS);
    const first = Math.max(0, Math.min(view.length - count, Math.floor(this.#region.scrollTop / height) - MARGIN_ROWS));
    this.#provide(count);
    const now = Date.now();
    for (let place = 0; place < count; place += 1) this.#rows[place].show(view[first + place], first + place, now);
    setHeight(this.#above, first * height);
    setHeight(this.#below, (view.length - first - count) * height);
    find(this.#region, 'table', HTMLTableElement).ariaRowCount = String(view.length + 1);
  }

  /** As the style sheet has it: taller on a phone. */
  get #rowHeight() { return parseFloat(getComputedStyle(this.#region).getPropertyValue('--row')); }

  /** @param {number} count  of rows */
  #provide(count) {
    while (this.#rows.length < count) {
      const row = new DeviceRow();
      this.#rows.push(row);
      this.#body.append(row.element);
    }
    for (const row of this.#rows.splice(count)) row.element.remove();
  }
}

/**
 * @param {HTMLElement} element
 * @param {number} height  in CSS pixels
 */
function setHeight(element, height) {
  const words = `${height}px`;
  if (element.style.height !== words) element.style.height = words;
}
