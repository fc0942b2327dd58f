/** Times in words. */

import { readBoot } from './boot.js';

/** @param {number} ms  how long ago, or how long */
export function ageWords(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  if (seconds < 6000) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

/** @param {number} unixMs */
export function clockWords(unixMs) {
  const moment = new Date(unixMs);
  const today = moment.toDateString() === new Date().toDateString();
  const { language } = readBoot();
  // the reader's own region if it speaks the page's language: 24 hours in London, 12 in New York
  const locale = navigator.languages.find((each) => each.split('-')[0] === language) ?? language;
  return today ? moment.toLocaleTimeString(locale) : moment.toLocaleString(locale);
}
