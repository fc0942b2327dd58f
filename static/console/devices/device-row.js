/** One row of the device table: one series of one device. */

import { make } from '../element.js';
import { ageWords, clockWords } from '../time-words.js';

/** @typedef {import('../../hermes-client-types.js').Frame} Frame */

const VALUE_SHOWN_CHARS = 160;
const VALUE_TITLE_CHARS = 2_000;

export class DeviceRow {
  element = make('tr', { role: 'row' });
  /** Whether the value may have changed without anybody telling this page. */
  stale = false;
  /** @type {Frame} */
  #frame = {};
  /** @type {number | null} Unix ms; null where nobody knows */
  #bornAt = null;
  /** @type {Set<string>} the sockets that have brought the value, and would bring the next */
  #sources = new Set();
  #offline = make('small', { class: 'offline', hidden: '' });
  #value = cell('value');
  #age = cell('age');
  #topic = cell('topic');
  #flashes = 0;

  /** @param {Frame} frame  any of the series */
  constructor({ tenant_id: tenant, device_id: device, series }) {
    const deviceCell = cell('device', device);
    deviceCell.append(this.#offline);
    this.element.append(cell('tenant', tenant), deviceCell, cell('series', series || '–'),
      this.#value, this.#age, this.#topic);
  }

  /**
   * Whether the frame is to be painted. A snapshot is no news: it never replaces what came live, and a stale value
   * stays stale if the snapshot only repeats it.
   * @param {Frame} frame
   * @param {string} source  the name of the socket that brought it
   */
  take(frame, source) {
    const isNewer = !frame.snapshot || isLater(frame, this.#frame);
    const isFirst = !this.#sources.size && !this.stale;
    this.#sources.add(source);
    if (!isNewer && !this.stale && !isFirst) return false;
    if (isNewer) this.stale = false;
    // A live value's age counts from its arrival here, so that a wrong clock on either side does not matter; of a
    // replayed value only the server knows when it came, and of some nobody.
    this.#bornAt = frame.snapshot || frame.timestamp === null ? frame.timestamp : Date.now();
    this.#frame = frame;
    return true;
  }

  /** Whether that socket was the last one that would bring the next value. @param {string} source */
  lose(source) {
    if (!this.#sources.delete(source) || this.#sources.size) return false;
    this.stale = true;
    return true;
  }

  /** @param {Frame | undefined} presence  the status frame of a device that is offline */
  showPresence(presence) {
    this.element.toggleAttribute('data-offline', Boolean(presence));
    this.#offline.hidden = !presence;
    this.#offline.textContent = presence?.since ? `offline since ${clockWords(presence.since)}` : 'offline';
  }

  paint() {
    const frame = this.#frame;
    const text = valueText(frame.data);
    this.#value.textContent = text.slice(0, VALUE_SHOWN_CHARS) + (text.length > VALUE_SHOWN_CHARS ? '…' : '');
    this.#value.title = text.slice(0, VALUE_TITLE_CHARS);
    this.#topic.textContent = [frame.topic, ...marks(frame)].join(' · ');
    this.#flash();
    this.paintAge();
  }

  paintAge() {
    const words = this.#bornAt === null ? this.#unknownAge : this.#ageSince(this.#bornAt);
    const text = this.stale ? `stale: ${words}` : words;
    if (this.#age.textContent !== text) this.#age.textContent = text;
    this.element.dataset.freshness = this.stale ? 'stale' : this.#frame.snapshot ? 'snapshot' : 'live';
  }

  get #unknownAge() { return this.#frame.retained ? 'kept by the broker, age unknown' : 'unknown'; }

  /** @param {number} bornAt */
  #ageSince(bornAt) {
    const words = ageWords(Date.now() - bornAt);
    return this.stale || this.#frame.snapshot ? `${words} ago (${clockWords(bornAt)})` : words;
  }

  /** Only news flashes; a new name restarts the animation. */
  #flash() {
    this.#flashes += 1;
    const name = this.#flashes % 2 ? 'flash-odd' : 'flash-even';
    this.element.className = this.#frame.snapshot ? '' : name;
  }
}

/**
 * @param {string} name
 * @param {unknown} text
 */
function cell(name, text = '') { return make('td', { role: 'cell', class: name }, String(text)); }

/**
 * By the server's clock alone. A value whose time nobody knows is later than none.
 * @param {Frame} frame
 * @param {Frame} known
 */
function isLater({ timestamp }, known) {
  return timestamp !== null && (known.timestamp === null || timestamp > known.timestamp);
}

/** @param {unknown} data */
function valueText(data) {
  if (data === null || data === undefined) return '(cleared)';
  return typeof data === 'string' ? data : JSON.stringify(data);
}

/** What is unusual about this value. @param {Frame} frame */
function marks(frame) {
  const skipped = frame.skipped ? [`${frame.skipped} skipped`] : [];
  return [...(frame.encoding ? [frame.encoding] : []), ...['retained', 'snapshot'].filter((mark) => frame[mark]), ...skipped];
}
