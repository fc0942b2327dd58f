/**
 * Poll the state of Hermes each second: `GET /status` with an API key that may see it, else `GET /ready`.
 *
 * @typedef {object} Ready
 * @property {string} [mqtt]  up, down, connecting or off
 * @property {number} [since]  Unix ms
 * @property {boolean} [ready]
 * @property {string[]} [missing]
 *
 * @typedef {Record<string, any>} Figures  the answer of `GET /status`, see docs/protocol.md
 *
 * @typedef {object} NodeStatus
 * @property {boolean} reachable
 * @property {number} since  Unix ms, start of the time it is not reachable
 * @property {Ready} link
 * @property {Figures | null} figures  null without a key that may see them
 * @property {string[] | null} missing  without which it is not ready; null if that is not known
 */

import { timeLimit } from '../lib/time-limit.js';

const POLL_EVERY_MS = 1_000;
const TIMEOUT_MS = 4_000;
export const GROUPS = ['mqtt', 'sockets', 'delivery', 'notify', 'snapshot', 'process'];
const HIDDEN_POLL_EVERY = 5; // a hidden page polls less often

export class StatusPoller {
  #credentials;
  #permissions;
  #onStatus;
  #unreachableSince = 0;

  /**
   * @param {import('../lib/credentials.js').Credentials} credentials
   * @param {import('../lib/permissions.js').Permissions} permissions
   * @param {(status: NodeStatus) => void} onStatus
   */
  constructor(credentials, permissions, onStatus) {
    this.#credentials = credentials;
    this.#permissions = permissions;
    this.#onStatus = onStatus;
  }

  /** Poll as long as the page is open. */
  async run() {
    for (let turn = 0; ; turn += 1) {
      if (!document.hidden || turn % HIDDEN_POLL_EVERY === 0) this.#onStatus(await this.#poll());
      await new Promise((resolve) => setTimeout(resolve, POLL_EVERY_MS));
    }
  }

  /** @returns {Promise<NodeStatus>} */
  async #poll() {
    try {
      const figures = await this.#figures();
      const link = figures ? { ...figures.mqtt, mqtt: figures.mqtt?.state } : await this.#ready();
      this.#unreachableSince = 0;
      const { ready, missing = ready ? [] : null } = figures ?? link;
      return { reachable: true, since: 0, link, figures, missing };
    } catch {
      this.#unreachableSince ||= Date.now();
      return { reachable: false, since: this.#unreachableSince, link: {}, figures: null, missing: null };
    }
  }

  /** Request the figures, if the key may see them. */
  async #figures() {
    const { apiKey } = this.#credentials;
    await this.#permissions.update();
    if (!apiKey || !this.#permissions.facts || !this.#permissions.may('status')) return null;
    const response = await get('status', { 'X-API-Key': apiKey });
    if (!response.ok) return null;
    const figures = await response.json();
    if (!GROUPS.every((group) => figures?.[group])) throw new Error('not an answer of Hermes');
    return figures;
  }

  /** Request the readiness, with the reasons if the key may see them; an answer in another format may come from a proxy. */
  async #ready() {
    const { apiKey } = this.#credentials;
    const answer = await (await get('ready', this.#permissions.facts ? { 'X-API-Key': apiKey } : {})).json();
    if (typeof answer?.mqtt !== 'string') throw new Error('not an answer of Hermes');
    return answer;
  }
}

/**
 * @param {string} path
 * @param {Record<string, string>} [headers]
 */
function get(path, headers = {}) {
  return fetch(path, { headers, cache: 'no-store', signal: timeLimit(TIMEOUT_MS) });
}
