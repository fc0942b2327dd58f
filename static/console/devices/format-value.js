/** Format a value, its age and its rate. */

import { membersOf } from '../../hermes-client.js';
import { formatDuration, formatTime } from '../lib/format-time.js';
import { formatNumber, t } from '../lib/i18n.js';
import { textAt } from '../lib/json-text.js';

/** @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame */
/** @typedef {import('./series.js').Series} Series */

const VALUE_MAX_CHARS = 160;
const GLANCE_MAX_CHARS = 40; // about the width of the column in a small window

/** The value as it was sent, letters that were sent escaped as letters. @param {ShownValue} series */
export function formatValue(series) {
  const { data, cleared } = series.frame;
  if (cleared) return t('devices.cleared');
  return typeof data === 'string' ? data : showLetters(sentValue(series));
}

/** @typedef {{frame: import('../../hermes-client.js').DeviceFrame, dataText: string}} ShownValue */

/** The value exactly as it was sent; of a JSON string its content. JSON `null` is a value. @param {ShownValue} series */
export function sentValue({ frame: { data }, dataText }) { return typeof data === 'string' ? data : dataText; }

/**
 * Show `\u00b0` in JSON as `°`; controls and what changes the direction of text stay escaped.
 * @param {string} text
 */
function showLetters(text) {
  return text.replace(/\\(?:u([\da-f]{4})|.)/gi, (escaped, hex) => {
    const letter = hex ? String.fromCharCode(parseInt(hex, 16)) : '';
    return /[\u00a1-\u00ac\u00ae-\u061b\u061d-\u1fff\u2010-\u2027\u2030-\u205f\u2070-\ufdff\uff01-\uffee]/.test(letter) ? letter : escaped;
  });
}

/**
 * Format the value for a table row, truncated: `{value, unit}` as `21.50 °C`, and a long one after its charted number.
 * @param {Series} series
 */
export function formatShortValue(series) {
  const { value, unit, ...rest } = Object(series.frame.data);
  const members = typeof value === 'number' && !Object.keys(rest).length ? membersOf(series.dataText) : [];
  const isPlain = members.length === (typeof unit === 'string' ? 2 : 1); // more: a name is repeated
  const text = isPlain ? [textAt(series.dataText, ['value']), unit].join(' ').trim() : formatValue(series);
  return `${formatCharted(series, text)}${text.length > VALUE_MAX_CHARS ? `${text.slice(0, VALUE_MAX_CHARS)}…` : text}`;
}

/** The charted number with its name, if it might not be seen in a long text. @param {Series} series @param {string} text */
function formatCharted({ chartedPath, dataText }, text) {
  const number = chartedPath?.length && text.length > GLANCE_MAX_CHARS && textAt(dataText, chartedPath);
  return number ? `${chartedPath[chartedPath.length - 1]} ${number} · ` : '';
}

/** Whether the value is live; the page dims the others. @param {Series} series */
export function freshness({ stale, frame }) { return stale ? 'stale' : frame.snapshot ? 'snapshot' : 'live'; }

/** Format the age of the value, and whether it is stale. @param {Series} series @param {number} now  Unix ms */
export function formatValueAge({ stale, frame, valueAt }, now) {
  const age = valueAt === null ? formatUnknownAge(frame) : formatAge(valueAt, now, stale || Boolean(frame.snapshot));
  return stale ? t('devices.stale', { age }) : age;
}

/** @param {DeviceFrame} frame */
function formatUnknownAge({ retained }) { return t(retained ? 'devices.retained' : 'devices.age_unknown'); }

/**
 * @param {number} valueAt
 * @param {number} now
 * @param {boolean} exact  add the time of day, for values that may have changed since
 */
function formatAge(valueAt, now, exact) {
  const age = formatDuration(now - valueAt);
  return exact ? t('devices.ago', { age, time: formatTime(valueAt) }) : age;
}

/** @param {Series} series @param {number} now  Unix ms */
export function formatRate(series, now) {
  const rate = series.rate(now);
  if (rate === null) return '–';
  return rate >= 1 ? t('devices.per_second', { n: formatNumber(rate) }) : t('devices.per_minute', { n: formatNumber(rate * 60) });
}

/** @param {{offline?: import('../../hermes-client.js').PresenceFrame}} device  or one of its series */
export function formatOffline({ offline }) {
  if (!offline) return '';
  return offline.since ? t('devices.offline_since', { time: formatTime(offline.since) }) : t('devices.offline');
}

/** Format the topic and the flags of the value. @param {Series} series */
export function formatTopic({ frame }) {
  const flags = /** @type {const} */ (['retained', 'snapshot']).filter((flag) => frame[flag]);
  return [frame.topic, frame.encoding, ...flags, frame.skipped ? t('devices.skipped', { n: frame.skipped }) : '']
    .filter(Boolean).join(' · ');
}
