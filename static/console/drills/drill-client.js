/** A client of a drill: the real one, and what it went through, as promises with a bound. */

import { HermesClient } from '../../hermes-client.js';
import { t } from '../strings.js';

/**
 * @typedef {import('../../hermes-client-types.js').Frame} Frame
 * @typedef {import('../../hermes-client-types.js').Options} Options
 * @typedef {import('../../hermes-client-types.js').Status} Status
 * @typedef {{at: number, status: Status}} Change  by performance.now()
 */

const LOOK_EVERY_MS = 10;

export class DrillClient {
  client;
  /** @type {Change[]} */
  changes = [];
  /** @type {{at: number, frame: Frame}[]} */
  devices = [];
  /** @type {Map<string, number>} how often each notification came */
  notices = new Map();

  /** @param {Options} options */
  constructor(options) {
    this.client = new HermesClient(options);
    this.client.on('state', (status) => this.changes.push({ at: performance.now(), status }));
    this.client.on('device', (frame) => this.devices.push({ at: performance.now(), frame }));
    this.client.on('frame', ({ channel, id }) => {
      if (channel === 'notifications') this.notices.set(id, (this.notices.get(id) ?? 0) + 1);
    });
    this.client.connect();
  }

  get open() { return this.client.state === 'open'; }

  /** The changes since this moment. @param {number} at */
  since(at) { return this.changes.filter((change) => change.at >= at); }

  close() { this.client.close(); }
}

/**
 * Waits until it is so; throws an Error with those words if that takes too long.
 * @template V
 * @param {() => V} condition  truthy in the end
 * @param {number} withinMs
 * @param {string} words
 * @returns {Promise<NonNullable<V>>}
 */
export async function until(condition, withinMs, words) {
  const end = performance.now() + withinMs;
  for (;;) {
    const value = condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(t('drills.too_late', { what: words, n: Math.round(withinMs / 1000) }));
    await pause(LOOK_EVERY_MS);
  }
}

/** @param {number} ms */
export function pause(ms) { return new Promise((resolve) => setTimeout(resolve, ms)); }
