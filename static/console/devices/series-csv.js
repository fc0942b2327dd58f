/** The shown series as a CSV file (RFC 4180). */

import { sentValue } from './format-value.js';

/** @typedef {import('./series.js').Series} Series */

const HEAD = ['tenant_id', 'device_id', 'device_name', 'series', 'value', 'encoding', 'timestamp', 'state', 'offline', 'topic'];
const NUMBER = /^[+-]?\d+(\.\d+)?([eE][+-]?\d+)?$/;

/** The text of the file. @param {Series[]} all */
export function toCsv(all) {
  return [HEAD, ...all.map(rowOf)].map((cells) => `${cells.map(quoted).join(',')}\r\n`).join('');
}

/** @param {Series} series */
function rowOf(series) {
  const { tenant, device, deviceName, name, frame, stale, offline } = series;
  return [
    tenant, device, deviceName.text, name, frame.cleared ? '' : sentValue(series), frame.encoding ?? '', isoTime(frame.timestamp),
    frame.cleared ? 'cleared' : stale ? 'stale' : frame.snapshot ? 'snapshot' : 'live', offline ? 'true' : 'false', frame.topic ?? '',
  ];
}

/** @param {number | null | undefined} unixMs  when Hermes received it */
function isoTime(unixMs) { return typeof unixMs === 'number' && Math.abs(unixMs) < 8.64e15 ? new Date(unixMs).toISOString() : ''; }

/**
 * Quote a cell; a spreadsheet must not run it as a formula (CWE-1236). The apostrophe tells it that this is text.
 * @param {string} text
 */
function quoted(text) {
  const isFormula = /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(text) || /^[\t\r\n]/.test(text);
  return `"${isFormula && !NUMBER.test(text) ? "'" : ''}${text.replaceAll('"', '""')}"`;
}
