/** A HermesClient that records its events, and waits with a time limit. */

import { HermesClient } from '../../hermes-client.js';
import { t } from '../lib/i18n.js';

/**
 * @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame
 * @typedef {import('../../hermes-client.js').Options} Options
 * @typedef {import('../../hermes-client.js').Status} Status
 * @typedef {{at: number, status: Status}} Change  by performance.now()
 */

const POLL_EVERY_MS = 10;

export class DrillClient {
  client;
  /** @type {Change[]} */
  changes = [];
  /** @type {{at: number, frame: DeviceFrame}[]} */
  devices = [];
  /** @type {Map<string, number>} how often each notification was received, by id */
  received = new Map();
  /** @type {Promise<unknown>[]} one for each socket, fulfilled when the browser has closed it */
  #ends = [];

  /** @param {Options} options */
  constructor(options) {
    this.client = new HermesClient({ resume: false, ...options, world: { WebSocket: this.#recordedWebSocket() } });
    this.client.on('state', (status) => this.changes.push({ at: performance.now(), status }));
    this.client.on('device', (frame) => this.devices.push({ at: performance.now(), frame }));
    this.client.on('frame', (frame) => { // a repeated one too
      if (frame.channel === 'notifications') this.received.set(frame.id, (this.received.get(frame.id) ?? 0) + 1);
    });
    this.client.connect();
  }

  get open() { return this.client.state === 'open'; }

  /** The state changes since this time. @param {number} at  by performance.now() */
  since(at) { return this.changes.filter((change) => change.at >= at); }

  /** Close the client; the promise is fulfilled when the browser has closed all its sockets. */
  close() {
    this.client.close();
    return Promise.all(this.#ends);
  }

  /** A WebSocket class that records when its instances end. */
  #recordedWebSocket() {
    const ends = this.#ends;
    return class extends WebSocket {
      /** @param {string} url @param {string[]} [protocols] */
      constructor(url, protocols) {
        super(url, protocols);
        ends.push(new Promise((resolve) => this.addEventListener('close', resolve)));
      }
    };
  }
}

/**
 * Wait for a condition; throws an Error if that takes too long.
 * @template V
 * @param {() => V} condition  returns a truthy value when it is met
 * @param {number} withinMs
 * @param {string} what  the condition, for the error message
 * @returns {Promise<NonNullable<V>>}
 */
export async function waitFor(condition, withinMs, what) {
  const end = performance.now() + withinMs;
  for (;;) {
    const value = condition();
    if (value) return value;
    if (performance.now() > end) throw new Error(t('drills.too_late', { what, n: Math.round(withinMs / 1000) }));
    await delay(POLL_EVERY_MS);
  }
}

/** @param {number} ms */
export function delay(ms) { return new Promise((resolve) => setTimeout(resolve, ms)); }
