/**
 * What the browser stores for this page: entries of this tab, entries that outlive it, and cookies.
 *
 * A browser may refuse them (blocked site data, a sandboxed frame), or be full. Entries then live in memory.
 */

import { folder } from './page-urls.js';

/** @type {Map<string, string>} */
const memory = new Map();

/** Whether the browser stores entries of this tab: only then do they survive a reload. */
export const isStored = canStore();

/** The key of an entry: several consoles below prefixes of one host have each their own. @param {string} key */
export function scoped(key) { return folder() === '/' ? key : `${key} ${folder()}`; }

/** @param {string} key @returns {string | null} */
export function readEntry(key) { return memory.get(key) ?? (isStored ? sessionStorage.getItem(scoped(key)) : null); }

/** @param {string} key @param {string} value */
export function storeEntry(key, value) {
  memory.set(key, value);
  try {
    sessionStorage.setItem(scoped(key), value);
  } catch { // refused or full: in memory only
  }
}

/** Read an entry that outlives the tab. @param {string} key @returns {string | null} */
export function readLasting(key) {
  try {
    return localStorage.getItem(scoped(key)) ?? memory.get(key) ?? null;
  } catch { // refused
    return memory.get(key) ?? null;
  }
}

/** Store an entry that outlives the tab; all tabs share it. @param {string} key @param {string} value */
export function storeLasting(key, value) {
  memory.set(key, value);
  try {
    localStorage.setItem(scoped(key), value);
  } catch { // refused or full: in memory only
  }
}

/** @param {string} key */
export function removeEntry(key) {
  memory.delete(key);
  if (isStored) sessionStorage.removeItem(scoped(key));
}

/** Store a cookie of this page for a year. @param {string} name @param {string} value */
export function storeCookie(name, value) {
  try {
    document.cookie = `${name}=${value}; path=${folder()}; max-age=31536000; samesite=strict`;
  } catch { // refused: the choice is lost with the page
  }
}

function canStore() {
  const key = 'hermes.test';
  try {
    sessionStorage.setItem(key, '');
    sessionStorage.removeItem(key);
    return true;
  } catch {
    return false;
  }
}
