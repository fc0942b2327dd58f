/** The order of the rows of the device table. Independent of the DOM. */

import { collator } from '../lib/i18n.js';
import { formatValue } from './format-value.js';

/**
 * @typedef {import('./series.js').Series} Series
 * @typedef {'tenant' | 'device' | 'series' | 'value' | 'trend' | 'age' | 'rate' | 'topic'} Column
 * @typedef {{column: Column, descending: boolean}} SortOrder
 */

/** What a column is sorted by: a text, or a number; null comes last in both directions. @type {Record<Column, (series: Series, now: number) => string | number | null>} */
const KEYS = {
  tenant: ({ tenant }) => tenant,
  device: ({ deviceName, device }) => deviceName.text || device,
  series: ({ name }) => name,
  value: (series) => series.number ?? (series.frame.cleared ? null : formatValue(series)),
  trend: ({ points }) => changeOf(points.toArray()),
  age: ({ valueAt }, now) => (valueAt === null ? null : now - valueAt),
  rate: (series, now) => series.rate(now),
  topic: ({ frame }) => frame.topic ?? null,
};
/** Columns of which the keys change with every message. */
const LIVE = new Set(['value', 'trend', 'age', 'rate']);
const TEXT_MAX_CHARS = 200; // enough to sort by

/** @param {string} text @returns {text is Column} */
export function isColumn(text) { return Object.hasOwn(KEYS, text); }

/** Whether new values change the order. @param {SortOrder | null} order */
export function isLive(order) { return order !== null && LIVE.has(order.column); }

/**
 * Sort; equal keys stay in the given order.
 * @param {Series[]} all
 * @param {SortOrder} order
 * @param {number} now  Unix ms
 */
export function sorted(all, { column, descending }, now) {
  const keyOf = KEYS[column];
  const entries = all.map((series) => {
    const key = keyOf(series, now);
    return { series, key: typeof key === 'string' ? key.slice(0, TEXT_MAX_CHARS) : key };
  });
  const direction = descending ? -1 : 1;
  entries.sort(({ key: one }, { key: other }) => {
    if (one === null || other === null) return Number(one === null) - Number(other === null);
    return direction * compare(one, other);
  });
  return entries.map(({ series }) => series);
}

/** Numbers come before texts. @param {string | number} one @param {string | number} other */
function compare(one, other) {
  if (typeof one === 'number' && typeof other === 'number') return one - other;
  if (typeof one === 'string' && typeof other === 'string') return collator.compare(one, other);
  return typeof one === 'number' ? -1 : 1;
}

/** The change from the first to the last number; null if there are less than two. @param {{value: number}[]} points */
function changeOf(points) {
  const values = points.map(({ value }) => value).filter((value) => !Number.isNaN(value));
  return values.length > 1 ? values[values.length - 1] - values[0] : null;
}
