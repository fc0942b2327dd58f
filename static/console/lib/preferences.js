/**
 * Language and theme, stored as cookies.
 *
 * The server renders the page with them, so the page does not flash in the wrong theme.
 */

import { find } from './dom.js';
import { storeCookie } from './storage.js';

/** Connect the two selectors of the header. */
export function bindPreferences() {
  const language = find(document, '#language', HTMLSelectElement);
  language.addEventListener('change', () => {
    storeCookie('hermes_language', language.value);
    location.reload();
  });
  const theme = find(document, '#theme', HTMLSelectElement);
  theme.addEventListener('change', () => {
    storeCookie('hermes_theme', theme.value);
    document.documentElement.dataset.theme = theme.value;
    find(document, '#dark-colours', HTMLLinkElement).media = theme.selectedOptions[0].dataset.dark ?? '';
  });
}
