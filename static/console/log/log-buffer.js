/**
 * The latest log lines and the filter. Independent of the DOM.
 *
 * Several sockets may deliver the same message: it is one line that names all of them.
 */

import { RingBuffer } from '../lib/ring-buffer.js';

/**
 * @typedef {object} Line
 * @property {number} at  Unix ms
 * @property {string} socket
 * @property {string} kind  in, out or note
 * @property {string} text
 *
 * @typedef {Line & {sockets: string[], number: number, checkedFor: number, matches: boolean}} BufferedLine
 */

const LINES_MAX = 2_000;
const REPEATS_MAX = 20; // lines of one text that another socket may still bring
const MESSAGE = /^\{"channel":/; // other frames are answers to one socket

export class LogBuffer {
  /** @type {RingBuffer<BufferedLine>} */
  #lines = new RingBuffer(LINES_MAX);
  /** @type {BufferedLine[] | null} the lines to filter while the log is paused */
  #frozen = null;
  #frozenAt = 0;
  #text = '';
  #socket = '';
  #kind = '';
  #filterVersion = 0; // a line is checked once for each filter
  /** @type {Map<string, BufferedLine[]>} the latest messages by their text, the oldest first */
  #messages = new Map();
  /** @type {Set<BufferedLine>} the latest ones that another socket brought again since they were taken */
  #repeated = new Set();

  /** The number of the next line. */
  nextNumber = 0;

  get size() { return this.#frozen?.length ?? this.#lines.length; }

  /** The number of lines added since the log was paused. */
  get missedCount() { return this.#frozen ? this.nextNumber - this.#frozenAt : 0; }

  /** The lines that match the filter, oldest first. */
  get filtered() { return (this.#frozen ?? this.#lines.toArray()).filter((line) => this.matches(line)); }

  /** Add a line; tokens in it are masked. @param {Line} line */
  add(line) {
    const text = maskTokens(line.text);
    if (line.kind === 'in' && MESSAGE.test(text)) this.#addMessage({ ...line, text });
    else this.#push({ ...line, text });
  }

  /** @param {Line} line */
  #push(line) {
    const added = { ...line, sockets: [line.socket], number: this.nextNumber, checkedFor: -1, matches: false };
    this.#lines.push(added);
    this.nextNumber += 1;
    return added;
  }

  /**
   * Add the socket to the line of the same message, or a line: one socket may also get the same text twice.
   * @param {Line} line
   */
  #addMessage(line) {
    const same = this.#messages.get(line.text) ?? [];
    const repeated = same.find(({ sockets }) => !sockets.includes(line.socket));
    if (!repeated) return this.#remember(line.text, [...same, this.#push(line)].slice(-REPEATS_MAX));
    repeated.sockets.push(line.socket);
    repeated.checkedFor = -1;
    this.#repeated.add(repeated);
    const [oldest] = this.#repeated;
    if (this.#repeated.size > LINES_MAX) this.#repeated.delete(oldest); // no list takes them while the log is hidden
  }

  /** @param {string} text @param {BufferedLine[]} lines */
  #remember(text, lines) {
    this.#messages.delete(text);
    this.#messages.set(text, lines);
    const [oldest] = this.#messages.keys();
    if (this.#messages.size > LINES_MAX) this.#messages.delete(oldest);
  }

  /** The lines that more sockets have brought since the last call; of more than `LINES_MAX` the latest. */
  takeRepeated() {
    const taken = [...this.#repeated];
    this.#repeated.clear();
    return taken;
  }

  /** The filtered lines from this number on; none while paused. @param {number} number */
  linesFrom(number) { return this.#frozen || number === this.nextNumber ? [] : this.filtered.filter((line) => line.number >= number); }

  /** The filtered lines before this number. @param {number} number */
  linesBefore(number) { return this.filtered.filter((line) => line.number < number); }

  /** Stop or resume the output of new lines. @param {boolean} frozen */
  freeze(frozen) {
    this.#frozen = frozen ? this.#lines.toArray() : null;
    this.#frozenAt = this.nextNumber;
  }

  clear() {
    this.#lines.clear();
    this.#messages.clear();
    this.#repeated.clear();
    if (this.#frozen) this.freeze(true);
  }

  /**
   * Set the filter.
   * @param {{text: string, socket: string, kind: string}} filter  an empty string matches all
   */
  setFilter({ text, socket, kind }) {
    [this.#text, this.#socket, this.#kind] = [text.trim().toLowerCase(), socket, kind];
    this.#filterVersion += 1;
  }

  /** Whether a line matches the filter. @param {BufferedLine} line */
  matches(line) {
    if (line.checkedFor !== this.#filterVersion) {
      line.checkedFor = this.#filterVersion;
      line.matches = (!this.#socket || line.sockets.includes(this.#socket)) && (!this.#kind || line.kind === this.#kind)
        && (!this.#text || line.text.toLowerCase().includes(this.#text));
    }
    return line.matches;
  }
}

/**
 * Replace everything that looks like a JWT by `…`; hermes-client.js masks only the tokens it uses.
 *
 * One pass over each dotted word: a regular expression for the whole would backtrack for seconds over `eyJeyJeyJ…`.
 * @param {string} text
 */
function maskTokens(text) { return text.includes('eyJ') ? text.replace(/[\w.-]+/g, maskTokensIn) : text; }

/** @param {string} word */
function maskTokensIn(word) {
  const parts = word.split('.');
  const masked = [];
  for (let index = 0; index < parts.length; index += 1) {
    const begin = index + 2 < parts.length ? parts[index].indexOf('eyJ') : -1;
    masked.push(begin < 0 ? parts[index] : `${parts[index].slice(0, begin)}…`);
    if (begin >= 0) index += 2;
  }
  return masked.join('.');
}
