/** A line of the log in the page. Long texts are cut; the whole stands below it on demand. */

import { make } from '../element.js';
import { maybe } from '../strings.js';

/** @typedef {import('./log-lines.js').KeptLine} KeptLine */

const TEXT_SHOWN_CHARS = 240;

/** @param {KeptLine} line */
export function logRow({ at, socket, kind, text, number }) {
  return make('li', { 'data-kind': kind, 'data-number': String(number) },
    make('time', {}, clock(at)), make('span', {}, maybe(`socket.${socket}`) ?? socket),
    make('b', { class: 'direction' }, maybe(`log.kind.${kind}`) ?? kind),
    text.length > TEXT_SHOWN_CHARS ? cut(text) : make('code', {}, text));
}

/** @param {string} text */
function cut(text) {
  const details = make('details', {}, make('summary', {}, make('code', {}, `${text.slice(0, TEXT_SHOWN_CHARS)}…`)));
  details.addEventListener('toggle', () => details.append(make('code', {}, text)), { once: true });
  return details;
}

/** To the millisecond. @param {number} at  Unix ms */
function clock(at) {
  const moment = new Date(at);
  const pad = (/** @type {number} */ value, /** @type {number} */ width) => String(value).padStart(width, '0');
  return `${pad(moment.getHours(), 2)}:${pad(moment.getMinutes(), 2)}:${pad(moment.getSeconds(), 2)}.${pad(moment.getMilliseconds(), 3)}`;
}
