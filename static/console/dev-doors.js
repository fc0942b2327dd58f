/** The two endpoints that only `hermes serve --dev` has, and `POST /notify`. Each throws an Error in words. */

/** @typedef {import('./credentials.js').Credentials} Credentials */

const ANSWER_WITHIN_MS = 10_000;

export class DevDoors {
  #credentials;

  /** @param {Credentials} credentials */
  constructor(credentials) { this.#credentials = credentials; }

  /**
   * @param {{user_id: string, username?: string, tenant_id?: string, is_superuser?: boolean, ttl_s?: number}} whose
   * @returns {Promise<string>}  the token
   */
  async mint(whose) { return (await this.#post('/dev/token', whose)).token; }

  /**
   * How many sockets it hit.
   * @param {'drop' | 'internal_error' | 'restart' | 'hold' | 'broker'} fault
   * @param {{user_id?: string, seconds?: number}} [where]
   * @returns {Promise<number>}
   */
  async cause(fault, where = {}) { return (await this.#post('/dev/drill', { fault, ...where })).sockets; }

  /**
   * Whether an open socket took it; an array answers for each.
   * @param {object[]} notices
   * @returns {Promise<boolean[]>}
   */
  async notify(notices) {
    const { results } = await this.#post('/notify', notices);
    return results.map((/** @type {{sent: boolean}} */ each) => each.sent);
  }

  /**
   * @param {string} path
   * @param {object} body
   * @returns {Promise<Record<string, any>>}
   */
  async #post(path, body) {
    const headers = { 'Content-Type': 'application/json', 'X-API-Key': this.#credentials.apiKey };
    const response = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body), cache: 'no-store', signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const fields = Object.entries(answer.error?.fields ?? {}).map(([name, words]) => `${name}: ${words}`);
    throw new Error([`${path}: ${response.status}`, answer.error?.message, ...fields].filter(Boolean).join(' · '));
  }
}
