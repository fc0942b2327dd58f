/**
 * What the browser stores for this page: entries of this tab, and cookies.
 *
 * A browser may refuse both (blocked site data, a sandboxed frame), or be full. Entries then live in memory.
 */

/** @type {Map<string, string>} */
const memory = new Map();

/** Whether the browser stores entries of this tab: only then do they survive a reload. */
export const isStored = canStore();

/** @param {string} key @returns {string | null} */
export function readEntry(key) { return memory.get(key) ?? (isStored ? sessionStorage.getItem(key) : null); }

/** @param {string} key @param {string} value */
export function storeEntry(key, value) {
  memory.set(key, value);
  try {
    sessionStorage.setItem(key, value);
  } catch { // refused or full: in memory only
  }
}

/** Store a cookie of this site for a year. @param {string} name @param {string} value */
export function storeCookie(name, value) {
  try {
    document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=strict`;
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
