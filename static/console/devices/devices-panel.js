/** The devices' panel. */

import { DeviceTable } from './device-table.js';

/** @typedef {import('../../hermes-client-types.js').Frame} Frame */

export class DevicesPanel {
  #table = new DeviceTable();

  /**
   * @param {HTMLElement} _root
   * @param {{say: (text: string) => void}} _surroundings
   */
  constructor(_root, _surroundings) {}

  get size() { return this.#table.size; }

  get staleCount() { return this.#table.staleCount; }

  /**
   * @param {Frame} frame
   * @param {string} source
   */
  take(frame, source) { this.#table.take(frame, source); }

  /** @param {string} source */
  lose(source) { this.#table.lose(source); }

  /** @param {Frame} frame */
  showPresence(frame) { this.#table.showPresence(frame); }

  /** @param {string} _rest */
  show(_rest) {}

  hide() {}
}
