/** The page's words, in the language that the server chose; each language is a file of its own in strings/. */

import { readBoot } from './boot.js';

/** @typedef {keyof typeof import('./strings/en.json')} Key */
/** @typedef {Record<string, string | number>} Fields */

const { language, strings } = readBoot();
const plurals = new Intl.PluralRules(language);
const exactNumbers = new Intl.NumberFormat(language, { maximumFractionDigits: 3 });
const numbers = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });

/**
 * The words, with each `{name}` replaced by that field.
 * @param {Key} key
 * @param {Fields} [fields]
 */
export function t(key, fields = {}) { return fill(strings[key] ?? key, fields); }

/**
 * The words for a number of things: `key.one` or `key.other`, with `{n}` as the language writes it.
 * @param {string} key
 * @param {number} n
 * @param {Fields} [fields]
 */
export function plural(key, n, fields = {}) {
  const words = strings[`${key}.${plurals.select(n)}`] ?? strings[`${key}.other`] ?? key;
  return fill(words, { ...fields, n: number(n) });
}

/** The words of a key that is put together from data; undefined if there are none. @param {string} key */
export function maybe(key) { return /** @type {string | undefined} */ (strings[key]); }

/** As the language writes it, with one decimal at the most. @param {number} n */
export function number(n) { return numbers.format(n); }

/** Always with one decimal, so that a countdown does not jump. */
export const tenths = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });

/** With up to three decimals, for scales. @param {number} n */
export function exactNumber(n) { return exactNumbers.format(n); }

/**
 * @param {string} words
 * @param {Fields} fields
 */
function fill(words, fields) {
  return words.replace(/\{(\w+)\}/g, (whole, name) => String(fields[name] ?? whole));
}
