/**
 * Language and theme, stored as cookies.
 *
 * The server renders the page with them, so the page does not flash in the wrong theme.
 */

import { find } from './dom.js';

const YEAR_S = 31_536_000;

/** Connect the two selectors of the header. */
export function bindPreferences() {
  const language = find(document, '#language', HTMLSelectElement);
  language.addEventListener('change', () => {
    setCookie('hermes_language', language.value);
    location.reload();
  });
  const theme = find(document, '#theme', HTMLSelectElement);
  theme.addEventListener('change', () => {
    setCookie('hermes_theme', theme.value);
    document.documentElement.dataset.theme = theme.value;
  });
}

/**
 * @param {string} name
 * @param {string} value
 */
function setCookie(name, value) { document.cookie = `${name}=${value}; path=/; max-age=${YEAR_S}; samesite=strict`; }
