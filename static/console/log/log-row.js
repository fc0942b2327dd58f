/** A row of the log. A long text is truncated and expands on demand. */

import { make } from '../lib/dom.js';
import { socketNames, tOptional } from '../lib/i18n.js';

/** @typedef {import('./log-buffer.js').BufferedLine} BufferedLine */

const TEXT_MAX_CHARS = 240;

/** Create the row of a line. @param {BufferedLine} line */
export function createLogRow({ at, sockets, kind, text, number }) {
  return make('li', { 'data-kind': kind, 'data-number': String(number) },
    make('time', {}, formatClock(at)), make('span', { class: 'sockets' }, socketNames(sockets)),
    make('b', { class: 'direction' }, tOptional(`log.kind.${kind}`) ?? kind),
    text.length > TEXT_MAX_CHARS ? truncated(text) : make('code', {}, text));
}

/** @param {string} text */
function truncated(text) {
  const details = make('details', {}, make('summary', {}, make('code', {}, `${text.slice(0, TEXT_MAX_CHARS)}…`)));
  details.addEventListener('toggle', () => details.append(make('code', {}, text)), { once: true });
  return details;
}

/** Format a time of day in milliseconds. @param {number} at  Unix ms */
function formatClock(at) {
  const moment = new Date(at);
  const pad = (/** @type {number} */ value, /** @type {number} */ width) => String(value).padStart(width, '0');
  return `${pad(moment.getHours(), 2)}:${pad(moment.getMinutes(), 2)}:${pad(moment.getSeconds(), 2)}.${pad(moment.getMilliseconds(), 3)}`;
}
