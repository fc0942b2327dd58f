/** The lines of the log, bounded, and the choice among them. Knows nothing of the page. */

import { Ring } from '../ring.js';

/**
 * @typedef {object} Line
 * @property {number} at  Unix ms
 * @property {string} socket
 * @property {string} kind  in, out or note
 * @property {string} text
 */

const LINES_KEPT = 2_000;
const JWT = /eyJ[\w-]*\.[\w-]*\.[\w-]*/g; // masked by the client already; whatever else looks like one is as well

export class LogLines {
  /** @type {Ring<Line>} */
  #lines = new Ring(LINES_KEPT);
  #text = '';
  #socket = '';
  #kind = '';

  get size() { return this.#lines.length; }

  /** Those that are chosen, oldest first. */
  get chosen() { return this.#lines.toArray().filter((line) => this.isChosen(line)); }

  /** The line as it is kept. @param {Line} line */
  add(line) {
    const kept = { ...line, text: line.text.replace(JWT, '…') };
    this.#lines.push(kept);
    return kept;
  }

  clear() { this.#lines.clear(); }

  /**
   * Empty means any.
   * @param {{text: string, socket: string, kind: string}} choice
   */
  choose({ text, socket, kind }) { [this.#text, this.#socket, this.#kind] = [text.trim().toLowerCase(), socket, kind]; }

  /** @param {Line} line */
  isChosen({ text, socket, kind }) {
    return (!this.#socket || socket === this.#socket) && (!this.#kind || kind === this.#kind)
      && text.toLowerCase().includes(this.#text);
  }
}
