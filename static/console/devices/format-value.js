/** Format a value, its age and its rate. */

import { formatDuration, formatTime } from '../lib/format-time.js';
import { formatNumber, t } from '../lib/i18n.js';

/** @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame */
/** @typedef {import('./series.js').Series} Series */

const VALUE_MAX_CHARS = 160;

/** Format the value of a frame; JSON `null` is a value. @param {DeviceFrame} frame */
export function formatValue({ data, cleared }) {
  if (cleared || data === undefined) return t('devices.cleared');
  return typeof data === 'string' ? data : JSON.stringify(data);
}

/**
 * Format the value of a frame for a table row, truncated; `{value, unit}` as `21.5 °C`.
 * @param {DeviceFrame} frame
 */
export function formatShortValue(frame) {
  const { value, unit, ...rest } = Object(frame.data);
  const plain = typeof value === 'number' && !Object.keys(rest).length;
  const text = plain ? [value, unit].join(' ').trim() : formatValue(frame);
  return text.length > VALUE_MAX_CHARS ? `${text.slice(0, VALUE_MAX_CHARS)}…` : text;
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
