/** Widths of the table's columns by their content. They only grow, so that no column moves to and fro while values change. */

/** @typedef {'tenant' | 'device' | 'series' | 'value' | 'age' | 'rate' | 'topic'} FittedColumn */

const STEP_PX = 16; // a value of one more digit moves nothing
const PADDING_PX = 32; // of a cell, and some room for the gap between name and id
const MEASURED_MAX_CHARS = 120;
const MIN_PX = 72;
const MINOR_PX = 160;
const TREND_PX = 120;
const TABLE_MIN_PX = 900;
/** An operator needs these when something is wrong: they are never cut off. @type {Set<string>} */
const WHOLE = new Set(['age', 'rate']);

export class ColumnWidths {
  #context = document.createElement('canvas').getContext('2d');
  #table;
  /** @type {Map<FittedColumn, {heading: HTMLElement, font: string, wanted: number}>} */
  #columns = new Map();
  #fitted = '';

  /** @param {HTMLElement} table */
  constructor(table) { this.#table = table; }

  /** Forget the widths, when other rows are shown. */
  reset() { this.#columns.clear(); }

  /**
   * Fit the columns to these rows, too.
   * @param {{element: HTMLElement, texts: Record<FittedColumn, string>}[]} rows  that are in the page
   * @param {number} available  CSS pixels
   */
  fit(rows, available) {
    if (!rows.length || !this.#context) return;
    if (!this.#columns.size) this.#measureHeadings(rows[0].element);
    for (const { texts } of rows) {
      for (const [column, entry] of this.#columns) entry.wanted = Math.max(entry.wanted, this.#width(texts[column], entry.font));
    }
    const entries = [...this.#columns];
    const wanted = entries.map(([column, entry]) => ({ width: entry.wanted, isWhole: WHOLE.has(column), isMinor: column === 'topic' }));
    const widths = shareWidth(wanted, Math.max(available, TABLE_MIN_PX) - TREND_PX);
    if (`${widths}` === this.#fitted) return;
    this.#fitted = `${widths}`;
    entries.forEach(([, { heading }], index) => { heading.style.width = `${widths[index]}px`; });
  }

  /** @param {HTMLElement} row */
  #measureHeadings(row) {
    for (const heading of this.#table.querySelectorAll('th')) {
      const column = /** @type {FittedColumn} */ (heading.className);
      const cell = row.querySelector(`td.${column}`);
      if (!cell || column === /** @type {string} */ ('trend')) continue;
      const font = fontOf(cell);
      this.#columns.set(column, { heading, font, wanted: this.#width(`${heading.textContent} ↑`, fontOf(heading)) });
    }
  }

  /** @param {string} text @param {string} font */
  #width(text, font) {
    const context = /** @type {CanvasRenderingContext2D} */ (this.#context);
    if (context.font !== font) context.font = font;
    return Math.ceil((context.measureText(text.slice(0, MEASURED_MAX_CHARS)).width + PADDING_PX) / STEP_PX) * STEP_PX;
  }
}

/**
 * Give each column what its content needs; if that is too much, cut a minor one first, then the widest ones to the same width.
 * @param {{width: number, isWhole: boolean, isMinor?: boolean}[]} wanted
 * @param {number} available
 */
export function shareWidth(wanted, available) {
  let left = available;
  let count = wanted.length;
  const isTooMuch = wanted.reduce((sum, { width }) => sum + width, 0) > available;
  const widths = wanted.map(({ width, isMinor }) => (isMinor && isTooMuch ? Math.min(width, MINOR_PX) : width));
  const smallestFirst = wanted.map((_, index) => index)
    .sort((one, other) => Number(wanted[other].isWhole) - Number(wanted[one].isWhole) || widths[one] - widths[other]);
  for (const index of smallestFirst) {
    if (!wanted[index].isWhole) widths[index] = Math.min(widths[index], Math.max(MIN_PX, Math.floor(left / count)));
    left -= widths[index];
    count -= 1;
  }
  return widths;
}

/** @param {Element} element */
function fontOf(element) {
  const { fontStyle, fontWeight, fontSize, fontFamily } = getComputedStyle(element);
  return `${fontStyle} ${fontWeight} ${fontSize} ${fontFamily}`;
}
