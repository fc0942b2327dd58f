/**
 * Poll the state of Hermes each second: `GET /status` with the API key, `GET /ready` without one.
 *
 * @typedef {object} Ready
 * @property {string} [mqtt]  up, down, connecting or off
 * @property {number} [since]  Unix ms
 * @property {string[]} [missing]
 *
 * @typedef {Record<string, any>} Figures  the answer of `GET /status`, see docs/protocol.md
 *
 * @typedef {object} NodeStatus
 * @property {boolean} reachable
 * @property {number} since  Unix ms, start of the time it is not reachable
 * @property {Ready} link
 * @property {Figures | null} figures  null without a valid key
 * @property {boolean} keyRejected
 */

const POLL_EVERY_MS = 1_000;
const TIMEOUT_MS = 4_000;
const RETRY_KEY_AFTER_MS = 15_000;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]+$/; // what `fetch` accepts
const GROUPS = ['mqtt', 'sockets', 'delivery', 'notify', 'snapshot', 'process'];
const HIDDEN_POLL_EVERY = 5; // a hidden page polls less often

export class StatusPoller {
  #credentials;
  #onStatus;
  #rejectedKey = '';
  #retryKeyAt = 0;
  #unreachableSince = 0;

  /**
   * @param {import('../lib/credentials.js').Credentials} credentials
   * @param {(status: NodeStatus) => void} onStatus
   */
  constructor(credentials, onStatus) {
    this.#credentials = credentials;
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
      return { reachable: true, since: 0, link, figures, keyRejected: Boolean(this.#rejectedKey) };
    } catch {
      this.#unreachableSince ||= Date.now();
      return { reachable: false, since: this.#unreachableSince, link: {}, figures: null, keyRejected: false };
    }
  }

  /** Request the figures; a rejected key is tried again later, because it may have been added. */
  async #figures() {
    const { apiKey } = this.#credentials;
    if (!apiKey || (apiKey === this.#rejectedKey && Date.now() < this.#retryKeyAt)) return null;
    const response = HEADER_VALUE.test(apiKey) ? await get('/status', { 'X-API-Key': apiKey }) : null;
    const rejected = !response || response.status === 401; // a key that cannot be a header value is not valid
    this.#rejectedKey = rejected ? apiKey : '';
    this.#retryKeyAt = Date.now() + RETRY_KEY_AFTER_MS;
    if (!response?.ok) return null;
    const figures = await response.json();
    if (!GROUPS.every((group) => figures?.[group])) throw new Error('not an answer of Hermes');
    return figures;
  }

  /** Request the readiness; an answer in another format may come from a proxy. */
  async #ready() {
    const answer = await (await get('/ready')).json();
    if (typeof answer?.mqtt !== 'string') throw new Error('not an answer of Hermes');
    return answer;
  }
}

/**
 * @param {string} path
 * @param {Record<string, string>} [headers]
 */
function get(path, headers = {}) {
  return fetch(path, { headers, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
}
