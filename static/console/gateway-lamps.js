/**
 * The two lamps in the header: Hermes itself, and its link to the MQTT broker. Both come from `GET /ready`.
 *
 * @typedef {object} Ready
 * @property {boolean} [ready]
 * @property {string} [mqtt]  up, down, connecting or off
 * @property {number} [since]  Unix ms
 * @property {string[]} [missing]
 */

import { byId, find } from './element.js';
import { ageWords, clockWords } from './time-words.js';

const POLL_EVERY_MS = 2_000;
const ANSWER_WITHIN_MS = 4_000;

export class GatewayLamps {
  #hermes = byId('hermes-lamp');
  #mqtt = byId('mqtt-lamp');
  #say;
  #unreachableSince = 0;

  /** @param {(text: string) => void} say */
  constructor(say) { this.#say = say; }

  /** Polls for as long as the page lives, but not while nobody sees it. */
  async watch() {
    for (;;) {
      if (!document.hidden) await this.#ask();
      await new Promise((resolve) => setTimeout(resolve, POLL_EVERY_MS));
    }
  }

  async #ask() {
    try {
      const response = await fetch('/ready', { cache: 'no-store', signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
      this.#unreachableSince = 0;
      this.#set(this.#hermes, 'up', 'reachable', '');
      this.#showLink(await response.json().catch(() => ({})));
    } catch {
      this.#unreachableSince ||= Date.now();
      this.#set(this.#hermes, 'down', 'not reachable', sinceWords(this.#unreachableSince));
      this.#set(this.#mqtt, 'unknown', 'unknown', '');
    }
  }

  /** @param {Ready | null} answer */
  #showLink(answer) {
    const state = answer?.mqtt ?? 'unknown';
    const missing = Array.isArray(answer?.missing) ? answer.missing.join('; ') : '';
    const since = state === 'down' && typeof answer?.since === 'number' ? sinceWords(answer.since) : '';
    this.#set(this.#mqtt, state, state, [since, missing].filter(Boolean).join(': '));
  }

  /**
   * @param {HTMLElement} lamp
   * @param {string} state  colours the lamp
   * @param {string} word
   * @param {string} detail
   */
  #set(lamp, state, word, detail) {
    const shown = find(lamp, '.word', HTMLElement);
    if (shown.textContent !== word) this.#say(`${lamp === this.#mqtt ? 'MQTT' : 'Hermes'}: ${word}`);
    lamp.dataset.state = state;
    shown.textContent = word;
    find(lamp, '.detail', HTMLElement).textContent = detail;
  }
}

/** @param {number} unixMs */
function sinceWords(unixMs) { return `since ${clockWords(unixMs)} (${ageWords(Date.now() - unixMs)})`; }
