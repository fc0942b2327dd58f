/**
 * Asks Hermes each second how it is: `GET /status` with the operator's key, `GET /ready` without one.
 *
 * @typedef {object} Ready
 * @property {string} [mqtt]  up, down, connecting or off
 * @property {number} [since]  Unix ms
 * @property {string[]} [missing]
 *
 * @typedef {Record<string, any>} Figures  as docs/protocol.md shows them under `GET /status`
 *
 * @typedef {object} Finding
 * @property {boolean} reachable
 * @property {number} since  Unix ms: for how long it is not reachable
 * @property {Ready} link
 * @property {Figures | null} figures  null without a good key
 * @property {boolean} keyRefused
 */

const ASK_EVERY_MS = 1_000;
const ANSWER_WITHIN_MS = 4_000;
const OFFER_AGAIN_MS = 15_000;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]+$/; // of what `fetch` takes
const GROUPS = ['mqtt', 'sockets', 'delivery', 'notify', 'snapshot', 'process'];
const NOBODY_LOOKS_EVERY = 5; // a hidden page asks less often

export class NodeWatch {
  #credentials;
  #tell;
  #refusedKey = '';
  #offerAgainAt = 0;
  #unreachableSince = 0;

  /**
   * @param {import('../credentials.js').Credentials} credentials
   * @param {(finding: Finding) => void} tell
   */
  constructor(credentials, tell) {
    this.#credentials = credentials;
    this.#tell = tell;
  }

  /** For as long as the page lives. */
  async watch() {
    for (let turn = 0; ; turn += 1) {
      if (!document.hidden || turn % NOBODY_LOOKS_EVERY === 0) this.#tell(await this.#find());
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY_MS));
    }
  }

  /** @returns {Promise<Finding>} */
  async #find() {
    try {
      const figures = await this.#figures();
      const link = figures ? { ...figures.mqtt, mqtt: figures.mqtt?.state } : await this.#ready();
      this.#unreachableSince = 0;
      return { reachable: true, since: 0, link, figures, keyRefused: Boolean(this.#refusedKey) };
    } catch {
      this.#unreachableSince ||= Date.now();
      return { reachable: false, since: this.#unreachableSince, link: {}, figures: null, keyRefused: false };
    }
  }

  /** A refused key is offered again now and then: Hermes may have got it meanwhile. */
  async #figures() {
    const { apiKey } = this.#credentials;
    if (!apiKey || (apiKey === this.#refusedKey && Date.now() < this.#offerAgainAt)) return null;
    const response = HEADER_VALUE.test(apiKey) ? await ask('/status', { 'X-API-Key': apiKey }) : null;
    const refused = !response || response.status === 401; // a key that no header can hold is none either
    this.#refusedKey = refused ? apiKey : '';
    this.#offerAgainAt = Date.now() + OFFER_AGAIN_MS;
    if (!response?.ok) return null;
    const figures = await response.json();
    if (!GROUPS.every((group) => figures?.[group])) throw new Error('not what Hermes answers');
    return figures;
  }

  /** Whatever a proxy says in place of Hermes is no word of Hermes. */
  async #ready() {
    const answer = await (await ask('/ready')).json();
    if (typeof answer?.mqtt !== 'string') throw new Error('not what Hermes answers');
    return answer;
  }
}

/**
 * @param {string} path
 * @param {Record<string, string>} [headers]
 */
function ask(path, headers = {}) {
  return fetch(path, { headers, cache: 'no-store', signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
}
