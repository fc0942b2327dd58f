/**
 * Whether devices' data arrives: over any of the three sockets that carry it, from a Hermes that hears the broker.
 * What does not arrive makes values stale, and the header says so in words.
 *
 * @typedef {object} Loss
 * @property {number} since  Unix ms
 * @property {string} why
 */

import { byId, find, setText } from './element.js';
import { number, t } from './strings.js';
import { clockWords } from './time-words.js';

/** @typedef {import('../hermes-client.js').HermesClient} HermesClient */
/** @typedef {import('./devices/devices-panel.js').DevicesPanel} DevicesPanel */

const CARRIERS = ['tenant', 'device', 'legacy'];
const LOOK_EVERY_MS = 1_000;
const RETURN_SHOWN_MS = 10_000; // long enough to be read by somebody who looked elsewhere

export class Feed {
  #banner = byId('feed');
  #devices;
  #say;
  /** @type {Map<string, Loss | null>} by socket, once it was open; null while data arrives over it */
  #lines = new Map();
  /** @type {number | null} Unix ms */
  #backSince = null;
  #backShownUntil = 0;
  #headline = '';

  /**
   * @param {DevicesPanel} devices
   * @param {(text: string) => void} say  to screen readers
   */
  constructor(devices, say) {
    this.#devices = devices;
    this.#say = say;
    setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  /**
   * @param {HermesClient} client
   * @param {string} name
   */
  watch(client, name) {
    if (!CARRIERS.includes(name)) return;
    client.on('state', ({ state }) => {
      if (state === 'open') this.#arrives(name, Date.now());
      else if (this.#lines.get(name) === null) this.#lose(name, { since: Date.now(), why: t('feed.no_socket') });
    });
    client.on('link', ({ up, since }) => {
      if (up) this.#arrives(name, since ?? Date.now());
      else this.#lose(name, { since: since ?? Date.now(), why: t('feed.no_link') });
    });
  }

  /** When nothing arrives any more: what was lost last, and so since when. */
  get #loss() {
    const [first, ...others] = this.#lines.values();
    return others.reduce((last, each) => last && each && (each.since > last.since ? each : last), first ?? null);
  }

  /**
   * Shown by the next look only: a fresh socket takes the link to be up until it is told otherwise, a moment later.
   * @param {string} name
   * @param {number} since  Unix ms
   */
  #arrives(name, since) {
    if (this.#loss) {
      this.#backSince = since;
      this.#backShownUntil = Date.now() + RETURN_SHOWN_MS;
    }
    this.#lines.set(name, null);
  }

  /**
   * @param {string} name
   * @param {Loss} loss
   */
  #lose(name, loss) {
    this.#lines.set(name, loss);
    this.#look();
  }

  #look() {
    // Again at each look: a value may overtake the word that the link is down.
    for (const [name, loss] of this.#lines) if (loss) this.#devices.lose(name);
    const loss = this.#loss;
    const { size, staleCount } = this.#devices;
    if (Date.now() > this.#backShownUntil && !staleCount) this.#backSince = null;
    const note = !loss && staleCount ? t('feed.awaited', { n: number(staleCount), total: number(size) }) : '';
    this.#show(loss ? 'down' : note ? 'waiting' : 'up', loss ? lossWords(loss) : backWords(this.#backSince), note);
  }

  /**
   * @param {string} state  colours the lamp
   * @param {string} headline  what screen readers are told; the note is a number that moves
   * @param {string} note
   */
  #show(state, headline, note) {
    const words = [headline, note].filter(Boolean).join(' ');
    this.#banner.hidden = !words;
    this.#banner.dataset.state = state;
    setText(find(this.#banner, '.words', HTMLElement), words);
    if (headline && headline !== this.#headline) this.#say(words);
    this.#headline = headline;
  }
}

/** @param {Loss} loss */
function lossWords({ since, why }) { return t('feed.stale', { time: clockWords(since), why }); }

/** @param {number | null} since */
function backWords(since) { return since === null ? '' : t('feed.back', { time: clockWords(since) }); }
