/** The table: however many series there are, only the rows in view are in the page. */

import { byId, find } from '../element.js';
import { DeviceRow } from './device-row.js';

/** @typedef {import('./series.js').Series} Series */

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
  #top = 0;
  /** @type {Series | null | undefined} whose link had the focus when the table was left */
  #left = null;

  /** @param {import('./fleet.js').Fleet} fleet */
  constructor(fleet) {
    this.#fleet = fleet;
    this.#region.addEventListener('scroll', () => this.#paintNow());
    new ResizeObserver(() => this.#paintNow()).observe(this.#region);
  }

  show() {
    this.#shown = true;
    this.#region.scrollTop = this.#top; // not every browser remembers it of what was hidden
    this.#paintNow();
    this.#ticking = window.setInterval(() => this.#paintNow(), AGES_EVERY_MS);
  }

  hide() {
    if (this.#shown) {
      this.#top = this.#region.scrollTop;
      this.#left = this.#rows.find((row) => row.hasFocus)?.series;
    }
    this.#shown = false;
    clearInterval(this.#ticking);
  }

  /** Where the focus was when the table was left. */
  focus() { (this.#rows.find(({ series }) => series === this.#left) ?? this.#region).focus(); }

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
    const wanted = view.slice(first, first + count);
    this.#arrange(wanted);
    const now = Date.now();
    this.#rows.forEach((row, place) => row.show(wanted[place], first + place, now));
    setHeight(this.#above, first * height);
    setHeight(this.#below, (view.length - first - count) * height);
    find(this.#region, 'table', HTMLTableElement).ariaRowCount = String(view.length + 1);
  }

  /** As the style sheet has it: taller on a phone. */
  get #rowHeight() { return parseFloat(getComputedStyle(this.#region).getPropertyValue('--row')); }

  /**
   * One row for each. What stays in view keeps its row, so that a focused link never leads elsewhere; the others' rows
   * are put to new use.
   * @param {Series[]} wanted
   */
  #arrange(wanted) {
    const kept = new Map(this.#rows.map((row) => [row.series, row]));
    const staying = new Set(wanted);
    const spare = this.#rows.filter(({ series }) => !series || !staying.has(series));
    if (spare.some((row) => row.hasFocus)) this.#region.focus({ preventScroll: true });
    for (const { element } of spare) element.remove();
    this.#rows = wanted.map((series) => kept.get(series) ?? spare.pop() ?? new DeviceRow());
    let next = this.#body.firstElementChild;
    for (const { element } of this.#rows) {
      if (element === next) next = next.nextElementSibling;
      else this.#body.insertBefore(element, next);
    }
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
