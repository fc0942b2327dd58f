/** What the whole node has done since its start, as a list of terms and figures. */

import { make } from '../element.js';
import { number, t } from '../strings.js';
import { ageWords } from '../time-words.js';

/** @typedef {import('./node-watch.js').Figures} Figures */

const MEBIBYTE = 1_048_576;

/**
 * @param {HTMLElement} root
 * @param {Figures} figures
 * @param {number | null} cpu  of a core, 0 to 1 and beyond; null where nobody knows yet
 */
export function showTotals(root, figures, cpu) {
  const { sockets, mqtt, delivery, notify, snapshot, process } = figures;
  /** @type {[import('../strings.js').Key, string][]} */
  const rows = [
    ['overview.total.uptime', ageWords(figures.now - figures.started)],
    ['overview.total.sockets', `${number(sum(sockets.open))} / ${number(sockets.limit)}`],
    ['overview.total.blocked', number(sockets.blocked)],
    ['overview.total.closed', byName(sockets.closed)],
    ['overview.total.refused', byName(sockets.refused)],
    ['overview.total.received', number(mqtt.received)],
    ['overview.total.dropped', byName(mqtt.dropped)],
    ['overview.total.outages', `${number(mqtt.outages)} (${ageWords(mqtt.outage_s * 1000)})`],
    ['overview.total.deliveries', number(delivery.deliveries)],
    ['overview.total.skipped', number(delivery.skipped)],
    ['overview.total.notify', byName(notify.answers)],
    ['overview.total.snapshot', number(snapshot.values)],
    ['overview.total.memory', `${number(process.rss_bytes / MEBIBYTE)} MiB`],
    ['overview.total.cpu', cpu === null ? '–' : t('overview.of_core', { n: number(cpu * 100) })],
  ];
  root.replaceChildren(...rows.map(([key, words]) => make('div', {}, make('dt', {}, t(key)), make('dd', {}, words))));
}

/** @param {Record<string, number>} counts */
export function sum(counts) { return Object.values(counts).reduce((all, each) => all + each, 0); }

/** @param {Record<string, number>} counts */
function byName(counts) {
  const words = Object.entries(counts).filter(([, count]) => count).map(([name, count]) => `${name}: ${number(count)}`);
  return words.join(', ') || t('overview.none');
}
