/** Every frame in and out of the four sockets, and what became of these; tokens are masked. */

import { copyText } from '../copy.js';
import { download } from '../download.js';
import { byId, find, make, setText } from '../element.js';
import { maybe, number, t } from '../strings.js';
import { LogLines } from './log-lines.js';

/** @typedef {import('./log-lines.js').Line} Line */

const ROWS_SHOWN = 300; // older ones are kept, found and copied
const PAINT_EVERY_MS = 200;
const TEXT_SHOWN_CHARS = 240;
const NEAR_PX = 40; // so far from the end still counts as following

export class LogPanel {
  #lines = new LogLines();
  #list = byId('log-lines');
  #text = find(document, '#log-filter', HTMLInputElement);
  #socket = find(document, '#log-socket', HTMLSelectElement);
  #kind = find(document, '#log-kind', HTMLSelectElement);
  /** @type {Line[]} chosen ones that are not shown yet */
  #fresh = [];
  #paused = false;
  #missed = 0;
  #shown = false;
  #painting = 0;

  constructor() {
    for (const field of [this.#text, this.#socket, this.#kind]) field.addEventListener('input', () => this.#choose());
    byId('log-pause').addEventListener('click', () => this.#pause(!this.#paused));
    byId('log-clear').addEventListener('click', () => {
      this.#lines.clear();
      this.#repaint();
    });
    byId('log-copy').addEventListener('click', async () => {
      this.#tell(t(await copyText(this.#asText()) ? 'log.copied' : 'copy.failed', { n: number(this.#lines.chosen.length) }));
    });
    byId('log-save').addEventListener('click', () => download('hermes-log.txt', 'text/plain', this.#asText()));
  }

  /** @param {Line} line */
  write(line) {
    const kept = this.#lines.add(line);
    if (this.#paused) this.#missed += 1;
    else if (this.#shown && this.#lines.isChosen(kept)) this.#fresh.push(kept);
  }

  show() {
    this.#shown = true;
    if (!this.#paused) this.#repaint();
    this.#painting = window.setInterval(() => this.#paint(), PAINT_EVERY_MS);
  }

  hide() {
    this.#shown = false;
    this.#fresh = [];
    clearInterval(this.#painting);
  }

  #choose() {
    this.#lines.choose({ text: this.#text.value, socket: this.#socket.value, kind: this.#kind.value });
    this.#repaint();
  }

  /** @param {boolean} paused */
  #pause(paused) {
    this.#paused = paused;
    this.#missed = 0;
    const button = byId('log-pause');
    button.setAttribute('aria-pressed', String(paused));
    setText(button, t(paused ? 'log.resume' : 'log.pause'));
    if (!paused) this.#repaint();
    else this.#paint();
  }

  /** From the kept lines. */
  #repaint() {
    this.#list.replaceChildren();
    this.#fresh = this.#lines.chosen;
    this.#paint();
  }

  #paint() {
    if (this.#paused) this.#tell(t('log.paused', { n: number(this.#missed) }));
    if (document.hidden || !this.#fresh.length) return this.#paused ? undefined : this.#count();
    const follows = this.#list.scrollHeight - this.#list.scrollTop - this.#list.clientHeight < NEAR_PX;
    this.#list.append(...this.#fresh.slice(-ROWS_SHOWN).map(row));
    this.#fresh = [];
    while (this.#list.childElementCount > ROWS_SHOWN) this.#list.firstElementChild?.remove();
    if (follows) this.#list.scrollTop = this.#list.scrollHeight;
    if (!this.#paused) this.#count();
  }

  #count() {
    const { chosen, size } = this.#lines;
    byId('log-empty').hidden = size > 0;
    this.#tell(t('log.of', { shown: number(this.#list.childElementCount), n: number(chosen.length), total: number(size) }));
  }

  /** @param {string} words */
  #tell(words) { setText(byId('log-words'), words); }

  #asText() {
    return this.#lines.chosen.map(({ at, socket, kind, text }) => `${new Date(at).toISOString()} ${socket} ${kind} ${text}\n`).join('');
  }
}

/** @param {Line} line */
function row({ at, socket, kind, text }) {
  const short = text.length > TEXT_SHOWN_CHARS;
  const body = short
    ? make('details', {}, make('summary', {}, make('code', {}, `${text.slice(0, TEXT_SHOWN_CHARS)}…`)), make('code', {}, text))
    : make('code', {}, text);
  return make('li', { 'data-kind': kind },
    make('time', {}, clock(at)), make('span', {}, maybe(`socket.${socket}`) ?? socket),
    make('b', { class: 'direction' }, maybe(`log.kind.${kind}`) ?? kind), body);
}

/** To the millisecond. @param {number} at  Unix ms */
function clock(at) {
  const moment = new Date(at);
  const pad = (/** @type {number} */ value, /** @type {number} */ width) => String(value).padStart(width, '0');
  return `${pad(moment.getHours(), 2)}:${pad(moment.getMinutes(), 2)}:${pad(moment.getSeconds(), 2)}.${pad(moment.getMilliseconds(), 3)}`;
}
