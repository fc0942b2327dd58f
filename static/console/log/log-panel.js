/** Every frame in and out of the four sockets, and what became of these; tokens are masked. */

import { copyText } from '../copy.js';
import { download } from '../download.js';
import { byId, find, setText } from '../element.js';
import { number, plural, t } from '../strings.js';
import { LogLines } from './log-lines.js';
import { logRow } from './log-row.js';

/** @typedef {import('./log-lines.js').Line} Line */

const ROWS_AT_ONCE = 300; // older ones come when their reader scrolls up to them
const PAINT_EVERY_MS = 200;
const NEAR_PX = 40; // so far from an end still counts as being there

export class LogPanel {
  #lines = new LogLines();
  #list = byId('log-lines');
  #text = find(document, '#log-filter', HTMLInputElement);
  #socket = find(document, '#log-socket', HTMLSelectElement);
  #kind = find(document, '#log-kind', HTMLSelectElement);
  #next = 0; // number of the first line that is not shown yet
  #paused = false;
  #painting = 0;

  constructor() {
    for (const field of [this.#text, this.#socket, this.#kind]) field.addEventListener('input', () => this.#choose());
    this.#list.addEventListener('scroll', () => this.#showOlder());
    byId('log-pause').addEventListener('click', () => this.#pause(!this.#paused));
    byId('log-clear').addEventListener('click', () => {
      this.#lines.clear();
      this.#repaint();
    });
    byId('log-copy').addEventListener('click', async () => {
      const { length } = this.#lines.chosen;
      const copied = await copyText(this.#asText());
      setText(byId('log-said'), copied ? plural('log.copied', length) : t('copy.failed'));
    });
    byId('log-save').addEventListener('click', () => download('hermes-log.txt', 'text/plain', this.#asText()));
  }

  /** @param {Line} line */
  write(line) { this.#lines.add(line); }

  show() {
    this.hide(); // a second word behind the fragment shows the panel anew
    if (!this.#paused) this.#repaint();
    this.#painting = window.setInterval(() => this.#paint(), PAINT_EVERY_MS);
  }

  hide() { clearInterval(this.#painting); }

  #choose() {
    this.#lines.choose({ text: this.#text.value, socket: this.#socket.value, kind: this.#kind.value });
    this.#repaint();
  }

  /** @param {boolean} paused */
  #pause(paused) {
    if (paused) this.#paint(); // what has come since the last time is not held back
    this.#paused = paused;
    this.#lines.hold(paused);
    const button = byId('log-pause');
    button.setAttribute('aria-pressed', String(paused));
    setText(button, t(paused ? 'log.resume' : 'log.pause'));
    if (!paused) this.#repaint();
    else this.#tell();
  }

  /** The newest of those that are kept. */
  #repaint() {
    this.#list.replaceChildren(...this.#lines.chosen.slice(-ROWS_AT_ONCE).map(logRow));
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#next = this.#lines.end;
    setText(byId('log-said'), '');
    this.#tell();
  }

  #paint() {
    if (document.hidden) return;
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    if (scrollHeight - scrollTop - clientHeight < NEAR_PX) this.#append();
    this.#tell();
  }

  #append() {
    const fresh = this.#lines.since(this.#next);
    this.#next = this.#lines.end;
    if (!fresh.length) return;
    this.#list.append(...fresh.slice(-ROWS_AT_ONCE).map(logRow));
    while (this.#list.childElementCount > ROWS_AT_ONCE) this.#list.firstElementChild?.remove();
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** Above the others, which stay where they are. */
  #showOlder() {
    const first = this.#list.firstElementChild;
    if (this.#list.scrollTop > NEAR_PX || !(first instanceof HTMLElement)) return;
    const { scrollHeight, scrollTop } = this.#list;
    this.#list.prepend(...this.#lines.before(Number(first.dataset.number)).slice(-ROWS_AT_ONCE).map(logRow));
    this.#list.scrollTop = scrollTop + this.#list.scrollHeight - scrollHeight;
  }

  #tell() {
    const newer = this.#lines.since(this.#next).length;
    byId('log-empty').hidden = this.#lines.size > 0;
    setText(byId('log-words'), this.#paused ? plural('log.paused', this.#lines.missed)
      : newer ? plural('log.newer', newer) : this.#countWords());
  }

  #countWords() {
    const { chosen, size } = this.#lines;
    return t('log.of', { shown: number(this.#list.childElementCount), n: number(chosen.length), total: number(size) });
  }

  #asText() {
    return this.#lines.chosen.map(({ at, socket, kind, text }) => `${new Date(at).toISOString()} ${socket} ${kind} ${text}\n`).join('');
  }
}
