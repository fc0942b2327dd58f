/** The list of totals of this Hermes since its start. */

import { make } from '../lib/dom.js';
import { formatDuration } from '../lib/format-time.js';
import { formatNumber, t } from '../lib/i18n.js';

/** @typedef {import('./status-poller.js').Figures} Figures */

const MEBIBYTE = 1_048_576;

/**
 * Render the totals.
 * @param {HTMLElement} root
 * @param {Figures} figures
 * @param {number | null} cpu  1 is one core; null if unknown
 */
export function renderTotals(root, figures, cpu) {
  const { sockets, mqtt, delivery, notify, snapshot, process } = figures;
  /** @type {[import('../lib/i18n.js').Key, string][]} */
  const rows = [
    ['overview.total.uptime', formatDuration(figures.now - figures.started)],
    ['overview.total.sockets', `${formatNumber(sum(sockets.open))} / ${formatNumber(sockets.limit)}`],
    ['overview.total.blocked', formatNumber(sockets.blocked)],
    ['overview.total.closed', byName(sockets.closed)],
    ['overview.total.refused', byName(sockets.refused)],
    ['overview.total.received', formatNumber(mqtt.received)],
    ['overview.total.dropped', byName(mqtt.dropped)],
    ['overview.total.outages', `${formatNumber(mqtt.outages)} (${formatDuration(mqtt.outage_s * 1000)})`],
    ['overview.total.deliveries', formatNumber(delivery.deliveries)],
    ['overview.total.skipped', formatNumber(delivery.skipped)],
    ['overview.total.notify', byName(notify.answers)],
    ['overview.total.snapshot', formatNumber(snapshot.values)],
    ['overview.total.memory', `${formatNumber(process.rss_bytes / MEBIBYTE)} MiB`],
    ['overview.total.cpu', cpu === null ? '–' : t('overview.of_core', { n: formatNumber(cpu * 100) })],
  ];
  root.replaceChildren(...rows.map(([key, text]) => make('div', {}, make('dt', {}, t(key)), make('dd', {}, text))));
}

/** Add up all counts. @param {Record<string, number>} counts */
export function sum(counts) { return Object.values(counts).reduce((all, each) => all + each, 0); }

/** Format the counts that are not 0. @param {Record<string, number>} counts */
function byName(counts) {
  const text = Object.entries(counts).filter(([, count]) => count).map(([name, count]) => `${name}: ${formatNumber(count)}`);
  return text.join(', ') || t('overview.none');
}
