/** The virtual device table: only the rows in view are in the page. */

import { byId, find } from '../lib/dom.js';
import { ColumnWidths } from './column-widths.js';
import { DeviceRow } from './device-row.js';

/** @typedef {import('./series.js').Series} Series */

const OVERSCAN_ROWS = 6; // above and below the view, so that scrolling shows no gap
const PAINT_EVERY_MS = 100; // faster than anyone can read
const AGES_UPDATE_EVERY_MS = 1_000;

export class DeviceTable {
  #store;
  #region = byId('devices-scroll');
  #body = byId('devices-rows');
  #above = find(this.#region, '.spacer.above td', HTMLElement);
  #below = find(this.#region, '.spacer.below td', HTMLElement);
  #table = find(this.#region, 'table', HTMLTableElement);
  #widths = new ColumnWidths(this.#table);
  /** @type {DeviceRow[]} */
  #rows = [];
  #shown = false;
  #pending = 0;
  #paintedAt = 0;
  #timer = 0;
  #scrollTop = 0;
  /** @type {Series | null | undefined} the series that had the focus when the table was hidden */
  #focusedSeries = null;

  /** @param {import('./series-store.js').SeriesStore} store */
  constructor(store) {
    this.#store = store;
    this.#region.addEventListener('scroll', () => this.#paintNow());
    new ResizeObserver(() => this.#paintNow()).observe(this.#region);
  }

  show() {
    this.#shown = true;
    this.#region.scrollTop = this.#scrollTop; // not every browser preserves it while hidden
    this.#paintNow();
    this.#timer = window.setInterval(() => this.#paintNow(), AGES_UPDATE_EVERY_MS);
  }

  hide() {
    if (this.#shown) {
      this.#scrollTop = this.#region.scrollTop;
      this.#focusedSeries = this.#rows.find((row) => row.hasFocus)?.series;
    }
    this.#shown = false;
    clearInterval(this.#timer);
  }

  /** Restore the focus. */
  focus() { (this.#rows.find(({ series }) => series === this.#focusedSeries) ?? this.#region).focus(); }

  /** Show the first rows, after the filter or the order changed. */
  scrollToTop() {
    this.#region.scrollTop = 0;
    this.#widths.reset();
    this.#paintNow();
  }

  /** Paint soon, once for many changes. */
  requestPaint() {
    if (this.#pending || !this.#shown) return;
    const wait = Math.max(0, this.#paintedAt + PAINT_EVERY_MS - performance.now());
    this.#pending = window.setTimeout(() => this.#paintNow(), wait);
  }

  #paintNow() {
    clearTimeout(this.#pending);
    this.#pending = 0;
    if (!this.#shown || document.hidden) return;
    this.#paintedAt = performance.now();
    const { visible } = this.#store;
    const height = this.#rowHeight;
    const count = Math.min(visible.length, Math.ceil(this.#region.clientHeight / height) + 2 * OVERSCAN_ROWS);
    const first = Math.max(0, Math.min(visible.length - count, Math.floor(this.#region.scrollTop / height) - OVERSCAN_ROWS));
    const wanted = visible.slice(first, first + count);
    this.#assignRows(wanted);
    const now = Date.now();
    this.#rows.forEach((row, index) => row.show(wanted[index], first + index, now));
    setHeight(this.#above, first * height);
    setHeight(this.#below, (visible.length - first - count) * height);
    this.#table.setAttribute('aria-rowcount', String(visible.length + 1));
    this.#widths.fit(this.#rows, this.#region.clientWidth);
  }

  /** From the style sheet: rows are taller on a phone. */
  get #rowHeight() { return parseFloat(getComputedStyle(this.#region).getPropertyValue('--row')); }

  /**
   * Assign a row to each series.
   *
   * A series that stays in view keeps its row, so that a focused link does not change. The other rows are reused.
   * @param {Series[]} wanted
   */
  #assignRows(wanted) {
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
  const text = `${height}px`;
  if (element.style.height !== text) element.style.height = text;
}
