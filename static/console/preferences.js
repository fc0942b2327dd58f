/** Language and theme, remembered as cookies: the server makes the page with them, so that nothing flashes. */

import { find } from './element.js';

const A_YEAR_S = 31_536_000;

export function offerPreferences() {
  const language = find(document, '#language', HTMLSelectElement);
  language.addEventListener('change', () => {
    remember('hermes_language', language.value);
    location.reload();
  });
  const theme = find(document, '#theme', HTMLSelectElement);
  theme.addEventListener('change', () => {
    remember('hermes_theme', theme.value);
    document.documentElement.dataset.theme = theme.value;
  });
}

/**
 * @param {string} name
 * @param {string} value
 */
function remember(name, value) { document.cookie = `${name}=${value}; path=/; max-age=${A_YEAR_S}; samesite=strict`; }
