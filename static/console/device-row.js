/** One row of the device table: one series of one device. */

import { make } from './element.js';
import { ageWords } from './time-words.js';

/** @typedef {import('../hermes-client.js').Frame} Frame */

const VALUE_SHOWN_CHARS = 160;
const VALUE_TITLE_CHARS = 2_000;

export class DeviceRow {
  element = make('tr', { role: 'row' });
  key;
  /** @type {Frame} */
  #frame;
  #receivedAt = 0;
  #value = cell('value');
  #age = cell('age');
  #topic = cell('topic');
  #flashes = 0;

  /**
   * @param {string} key
   * @param {Frame} frame
   */
  constructor(key, frame) {
    this.key = key;
    this.#frame = frame;
    const { tenant_id: tenant, device_id: device, series } = frame;
    this.element.append(cell('tenant', tenant), cell('device', device), cell('series', series || '–'),
      this.#value, this.#age, this.#topic);
    this.update(frame);
  }

  /**
   * A live value's age counts from its arrival here, so that a wrong clock on either side does not matter; of a
   * replayed value only the server knows when it came, and of some (`timestamp` null) nobody.
   * @param {Frame} frame
   */
  update(frame) {
    this.#frame = frame;
    this.#receivedAt = frame.snapshot || frame.timestamp === null ? frame.timestamp : Date.now();
  }

  paint() {
    const frame = this.#frame;
    const text = valueText(frame.data);
    this.#value.textContent = text.slice(0, VALUE_SHOWN_CHARS) + (text.length > VALUE_SHOWN_CHARS ? '…' : '');
    this.#value.title = text.slice(0, VALUE_TITLE_CHARS);
    this.#topic.textContent = [frame.topic, ...marks(frame)].join(' · ');
    this.#flashes += 1;
    this.element.className = this.#flashes % 2 ? 'flash-odd' : 'flash-even'; // a new name restarts the animation
    this.paintAge();
  }

  paintAge() {
    const words = this.#receivedAt === null ? 'unknown' : ageWords(Date.now() - this.#receivedAt);
    if (this.#age.textContent !== words) this.#age.textContent = words;
  }
}

/**
 * @param {string} name
 * @param {unknown} text
 */
function cell(name, text = '') { return make('td', { role: 'cell', class: name }, String(text)); }

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
