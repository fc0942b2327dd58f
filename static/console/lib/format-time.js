/** Format durations and times of day. */

import { readPageData } from './page-data.js';

/** Format a duration in its largest unit: `12 s`, `3 min`. @param {number} ms */
export function formatDuration(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** Format a time of day, with the date unless it is today. @param {number} unixMs */
export function formatTime(unixMs) {
  const moment = new Date(unixMs);
  const today = moment.toDateString() === new Date().toDateString();
  const { language } = readPageData();
  // the region of the browser if it has the page's language: 24 hours in London, 12 in New York
  const locale = navigator.languages.find((each) => each.split('-')[0] === language && isLocale(each)) ?? language;
  return today ? moment.toLocaleTimeString(locale) : moment.toLocaleString(locale);
}

/** Chromium on a system without a locale, as of a panel, names `en-US@posix`. @param {string} tag */
function isLocale(tag) {
  try {
    return Intl.getCanonicalLocales(tag).length > 0;
  } catch {
    return false;
  }
}
