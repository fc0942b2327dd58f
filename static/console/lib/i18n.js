/**
 * Translated texts and number formats in the language of the page.
 *
 * The server selects the language. Each language is a file in strings/.
 */

import { readPageData } from './page-data.js';

/** @typedef {keyof typeof import('../strings/en.json')} Key */
/** @typedef {Record<string, string | number>} Fields */

const { language, strings } = readPageData();
/** Orders texts as readers of this language expect, and `d10` after `d9`. */
export const collator = new Intl.Collator(language, { numeric: true });
const pluralRules = new Intl.PluralRules(language);
const upToThreeDecimals = new Intl.NumberFormat(language, { maximumFractionDigits: 3 });
const oneDecimal = new Intl.NumberFormat(language, { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const upToOneDecimal = new Intl.NumberFormat(language, { maximumFractionDigits: 1 });

/** Load the texts of the parts that are loaded on demand; the page has the others. */
export async function loadStrings() {
  const response = await fetch(new URL(`../strings/${language}.json`, import.meta.url));
  Object.assign(strings, await response.json());
}

/**
 * Translate a key and replace each `{name}` in the text by that field.
 * @param {Key} key
 * @param {Fields} [fields]
 */
export function t(key, fields = {}) { return fill(strings[key] ?? key, fields); }

/**
 * Translate a key with a plural form: `key.one` or `key.other`; `{n}` is the formatted number.
 * @param {string} key
 * @param {number} n
 * @param {Fields} [fields]
 */
export function tPlural(key, n, fields = {}) {
  const text = strings[`${key}.${pluralRules.select(n)}`] ?? strings[`${key}.other`] ?? key;
  return fill(text, { ...fields, n: formatNumber(n) });
}

/** Translate a key built from data; undefined if there is no such text. @param {string} key */
export function tOptional(key) { return /** @type {string | undefined} */ (strings[key]); }

/** The names of sockets. @param {string[]} sockets */
export function socketNames(sockets) { return sockets.map((socket) => tOptional(`socket.${socket}`) ?? socket).join(', '); }

/** Format a number with at most one decimal. @param {number} n */
export function formatNumber(n) { return upToOneDecimal.format(n); }

/** Format a number with exactly one decimal, so that the width of a countdown is constant. @param {number} n */
export function formatTenths(n) { return oneDecimal.format(n); }

/** Format a number with at most three decimals, for chart scales. @param {number} n */
export function formatExact(n) { return upToThreeDecimals.format(n); }

/**
 * @param {string} text
 * @param {Fields} fields
 */
function fill(text, fields) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => String(fields[name] ?? whole));
}
