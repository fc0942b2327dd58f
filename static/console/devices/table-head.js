/** The head of the device table: each column is a button that sorts by it. */

import { find } from '../lib/dom.js';
import { isColumn } from './sort-order.js';

/** @typedef {import('./sort-order.js').SortOrder} SortOrder */

export class TableHead {
  #headings;

  /**
   * @param {HTMLElement} table
   * @param {(order: SortOrder | null) => void} onSort
   */
  constructor(table, onSort) {
    this.#headings = [...table.querySelectorAll('th')];
    for (const heading of this.#headings) {
      find(heading, 'button', HTMLButtonElement).addEventListener('click', () => onSort(nextOrder(heading)));
    }
  }

  /** Show the order; screen readers report the sorted column. @param {SortOrder | null} order */
  show(order) {
    for (const heading of this.#headings) {
      if (heading.className !== order?.column) heading.removeAttribute('aria-sort');
      else heading.setAttribute('aria-sort', order.descending ? 'descending' : 'ascending');
    }
  }
}

/** Ascending, then descending, then the order without any. @param {HTMLElement} heading @returns {SortOrder | null} */
function nextOrder(heading) {
  const column = heading.className;
  const now = heading.getAttribute('aria-sort');
  return isColumn(column) && now !== 'descending' ? { column, descending: now === 'ascending' } : null;
}

/** The order as a word of the URL: `age`, or `-age` for descending. @param {SortOrder | null} order */
export function orderToWord(order) { return order ? `${order.descending ? '-' : ''}${order.column}` : ''; }

/** @param {string} word @returns {SortOrder | null} */
export function orderFromWord(word) {
  const column = word.replace(/^-/, '');
  return isColumn(column) ? { column, descending: word.startsWith('-') } : null;
}
