/** A value, its age and its rate in words. */

import { number, t } from '../strings.js';
import { ageWords, clockWords } from '../time-words.js';

/** @typedef {import('./series.js').Series} Series */

const VALUE_SHOWN_CHARS = 160;

/** @param {unknown} data */
export function valueText(data) {
  if (data === null || data === undefined) return t('devices.cleared');
  return typeof data === 'string' ? data : JSON.stringify(data);
}

/** Cut to what a row has room for; `{value, unit}` as people write it. @param {unknown} data */
export function shortValue(data) {
  const { value, unit, ...rest } = Object(data);
  const plain = typeof value === 'number' && !Object.keys(rest).length;
  const text = plain ? [value, unit].join(' ').trim() : valueText(data);
  return text.length > VALUE_SHOWN_CHARS ? `${text.slice(0, VALUE_SHOWN_CHARS)}…` : text;
}

/** Whether the value is current: the page dims what is not. @param {Series} series */
export function freshness({ stale, frame }) { return stale ? 'stale' : frame.snapshot ? 'snapshot' : 'live'; }

/** How old the value is, by whose word. @param {Series} series @param {number} now  Unix ms */
export function valueAge({ stale, frame, bornAt }, now) {
  const words = bornAt === null ? unknownAge(frame) : agoWords(bornAt, now, stale || frame.snapshot);
  return stale ? t('devices.stale', { words }) : words;
}

/** @param {import('../../hermes-client.js').Frame} frame */
function unknownAge({ retained }) { return t(retained ? 'devices.kept' : 'devices.age_unknown'); }

/**
 * @param {number} bornAt
 * @param {number} now
 * @param {boolean} exact  with the time of day, because nobody can tell what has happened since
 */
function agoWords(bornAt, now, exact) {
  const age = ageWords(now - bornAt);
  return exact ? t('devices.ago', { age, time: clockWords(bornAt) }) : age;
}

/** @param {Series} series @param {number} now  Unix ms */
export function rateWords(series, now) {
  const rate = series.rate(now);
  if (rate === null) return '–';
  return rate >= 1 ? t('devices.per_second', { n: number(rate) }) : t('devices.per_minute', { n: number(rate * 60) });
}

/** @param {{offline?: import('../../hermes-client.js').Frame}} device  or one of its series */
export function offlineWords({ offline }) {
  if (!offline) return '';
  return offline.since ? t('devices.offline_since', { time: clockWords(offline.since) }) : t('devices.offline');
}

/** The topic, and what is unusual about this value. @param {Series} series */
export function topicWords({ frame }) {
  const marks = ['retained', 'snapshot'].filter((mark) => frame[mark]);
  return [frame.topic, frame.encoding, ...marks, frame.skipped ? t('devices.skipped', { n: frame.skipped }) : '']
    .filter(Boolean).join(' · ');
}
