/** The log panel: all frames and state changes of the sockets, with masked tokens. */

import { copyText } from '../lib/clipboard.js';
import { byId, find, setText } from '../lib/dom.js';
import { download } from '../lib/download.js';
import { formatNumber, socketNames, t, tPlural } from '../lib/i18n.js';
import { createLogRow } from './log-row.js';

const ROWS_AT_ONCE = 300; // older rows are added when the user scrolls up
const PAINT_EVERY_MS = 200;
const SCROLL_TOLERANCE_PX = 40; // closer than this counts as the end

export class LogPanel {
  #buffer;
  #list = byId('log-lines');
  #text = find(document, '#log-filter', HTMLInputElement);
  #socket = find(document, '#log-socket', HTMLSelectElement);
  #kind = find(document, '#log-kind', HTMLSelectElement);
  #nextNumber = 0; // of the first line that is not shown yet
  #paused = false;
  #paintTimer = 0;

  /** @param {import('./log-buffer.js').LogBuffer} buffer  the lines since the page was opened */
  constructor(buffer) {
    this.#buffer = buffer;
    for (const field of [this.#text, this.#socket, this.#kind]) field.addEventListener('input', () => this.#applyFilter());
    this.#list.addEventListener('scroll', () => this.#showOlder());
    byId('log-pause').addEventListener('click', () => this.#pause(!this.#paused));
    byId('log-clear').addEventListener('click', () => {
      this.#buffer.clear();
      this.#repaint();
    });
    byId('log-copy').addEventListener('click', async () => {
      const { length } = this.#buffer.filtered;
      const copied = await copyText(this.#asText());
      setText(byId('log-copied'), copied ? tPlural('log.copied', length) : t('copy.failed'));
    });
    byId('log-save').addEventListener('click', () => download('hermes-log.txt', 'text/plain', this.#asText()));
  }

  show() {
    this.hide(); // a change after the slash of the fragment calls this again
    if (!this.#paused) this.#applyFilter();
    this.#paintTimer = window.setInterval(() => this.#paint(), PAINT_EVERY_MS);
  }

  hide() { clearInterval(this.#paintTimer); }

  #applyFilter() {
    this.#buffer.setFilter({ text: this.#text.value, socket: this.#socket.value, kind: this.#kind.value });
    this.#repaint();
  }

  /** @param {boolean} paused */
  #pause(paused) {
    if (paused) this.#paint(); // show what came since the last update
    this.#paused = paused;
    this.#buffer.freeze(paused);
    const button = byId('log-pause');
    button.setAttribute('aria-pressed', String(paused));
    setText(button, t(paused ? 'log.resume' : 'log.pause'));
    if (!paused) this.#repaint();
    else this.#updateCount();
  }

  /** Show the newest lines. */
  #repaint() {
    this.#list.replaceChildren(...this.#buffer.filtered.slice(-ROWS_AT_ONCE).map(createLogRow));
    this.#list.scrollTop = this.#list.scrollHeight;
    this.#nextNumber = this.#buffer.nextNumber;
    setText(byId('log-copied'), '');
    this.#updateCount();
  }

  #paint() {
    if (document.hidden) return;
    const { scrollHeight, scrollTop, clientHeight } = this.#list;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < SCROLL_TOLERANCE_PX;
    const misses = this.#showRepeated();
    if (isAtEnd && misses) this.#repaint();
    else if (isAtEnd) this.#append();
    this.#updateCount();
  }

  /** Name the sockets that brought a line again; whether one of these lines only now matches the filter. */
  #showRepeated() {
    const repeated = this.#buffer.takeRepeated().filter(({ number }) => number < this.#nextNumber);
    if (!repeated.length) return false;
    const rows = new Map([...this.#list.children].map((row) => [row.getAttribute('data-number'), row]));
    const missing = repeated.filter(({ number, sockets }) => {
      const row = rows.get(String(number));
      if (row) setText(find(row, '.sockets', HTMLElement), socketNames(sockets));
      return !row;
    });
    return !this.#paused && Boolean(this.#socket.value) && missing.some((line) => this.#buffer.matches(line));
  }

  #append() {
    const fresh = this.#buffer.linesFrom(this.#nextNumber);
    this.#nextNumber = this.#buffer.nextNumber;
    if (!fresh.length) return;
    this.#list.append(...fresh.slice(-ROWS_AT_ONCE).map(createLogRow));
    while (this.#list.childElementCount > ROWS_AT_ONCE) this.#list.firstElementChild?.remove();
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  /** Add older rows above and preserve the scroll position. */
  #showOlder() {
    const first = this.#list.firstElementChild;
    if (this.#list.scrollTop > SCROLL_TOLERANCE_PX || !(first instanceof HTMLElement)) return;
    const { scrollHeight, scrollTop } = this.#list;
    this.#list.prepend(...this.#buffer.linesBefore(Number(first.dataset.number)).slice(-ROWS_AT_ONCE).map(createLogRow));
    this.#list.scrollTop = scrollTop + this.#list.scrollHeight - scrollHeight;
  }

  #updateCount() {
    const newer = this.#buffer.linesFrom(this.#nextNumber).length;
    byId('log-empty').hidden = this.#buffer.size > 0;
    setText(byId('log-count'), this.#paused ? tPlural('log.paused', this.#buffer.missedCount)
      : newer ? tPlural('log.newer', newer) : this.#countText());
  }

  #countText() {
    const { filtered, size } = this.#buffer;
    return t('log.of', { shown: formatNumber(this.#list.childElementCount), n: formatNumber(filtered.length), total: formatNumber(size) });
  }

  #asText() {
    return this.#buffer.filtered.map(({ at, sockets, kind, text }) => `${new Date(at).toISOString()} ${sockets.join(',')} ${kind} ${text}\n`).join('');
  }
}
