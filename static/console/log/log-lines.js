/** The lines of the log, bounded, and the choice among them. Knows nothing of the page. */

import { Ring } from '../ring.js';

/**
 * @typedef {object} Line
 * @property {number} at  Unix ms
 * @property {string} socket
 * @property {string} kind  in, out or note
 * @property {string} text
 *
 * @typedef {Line & {number: number, asked: number, fits: boolean}} KeptLine
 */

const LINES_KEPT = 2_000;

export class LogLines {
  /** @type {Ring<KeptLine>} */
  #lines = new Ring(LINES_KEPT);
  /** @type {KeptLine[] | null} what is chosen from while nothing new is to be seen */
  #held = null;
  #heldEnd = 0;
  #text = '';
  #socket = '';
  #kind = '';
  #choices = 0; // so that each line is asked once for each choice

  /** The number of the next line. */
  end = 0;

  get size() { return this.#held?.length ?? this.#lines.length; }

  /** How many came since the others are held. */
  get missed() { return this.#held ? this.end - this.#heldEnd : 0; }

  /** Those that are chosen, oldest first. */
  get chosen() { return (this.#held ?? this.#lines.toArray()).filter((line) => this.#isChosen(line)); }

  /** @param {Line} line */
  add(line) {
    this.#lines.push({ ...line, text: masked(line.text), number: this.end, asked: -1, fits: false });
    this.end += 1;
  }

  /** Those of the chosen that are as new as this. @param {number} number */
  since(number) { return this.#held || number === this.end ? [] : this.chosen.filter((line) => line.number >= number); }

  /** Those of the chosen that are older than this. @param {number} number */
  before(number) { return this.chosen.filter((line) => line.number < number); }

  /** @param {boolean} held */
  hold(held) {
    this.#held = held ? this.#lines.toArray() : null;
    this.#heldEnd = this.end;
  }

  clear() {
    this.#lines.clear();
    if (this.#held) this.hold(true);
  }

  /**
   * Empty means any.
   * @param {{text: string, socket: string, kind: string}} choice
   */
  choose({ text, socket, kind }) {
    [this.#text, this.#socket, this.#kind] = [text.trim().toLowerCase(), socket, kind];
    this.#choices += 1;
  }

  /** @param {KeptLine} line */
  #isChosen(line) {
    if (line.asked !== this.#choices) {
      line.asked = this.#choices;
      line.fits = (!this.#socket || line.socket === this.#socket) && (!this.#kind || line.kind === this.#kind)
        && (!this.#text || line.text.toLowerCase().includes(this.#text));
    }
    return line.fits;
  }
}

/**
 * Without what looks like a JWT. The client masks them too; whatever else looks like one is masked here.
 * One pass over each dotted word: a pattern for the whole would backtrack for seconds over `eyJeyJeyJ…`.
 * @param {string} text
 */
function masked(text) { return text.includes('eyJ') ? text.replace(/[\w.-]+/g, maskedWord) : text; }

/** @param {string} word */
function maskedWord(word) {
  const parts = word.split('.');
  const kept = [];
  for (let place = 0; place < parts.length; place += 1) {
    const begin = place + 2 < parts.length ? parts[place].indexOf('eyJ') : -1;
    kept.push(begin < 0 ? parts[place] : `${parts[place].slice(0, begin)}…`);
    if (begin >= 0) place += 2;
  }
  return kept.join('.');
}
