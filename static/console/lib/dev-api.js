/**
 * Calls to `POST /notify` and to the two endpoints of `hermes serve --dev`.
 *
 * Each method throws an Error with a readable message if the request fails.
 */

import { timeLimit } from './time-limit.js';

/** @typedef {import('./credentials.js').Credentials} Credentials */

const TIMEOUT_MS = 10_000;

export class DevApi {
  #credentials;

  /** @param {Credentials} credentials */
  constructor(credentials) { this.#credentials = credentials; }

  /**
   * Get a signed token.
   * @param {{user_id: string, username?: string, tenant_id?: string, is_superuser?: boolean, ttl_s?: number}} claims
   * @returns {Promise<string>}
   */
  async signToken(claims) { return (await this.#post('dev/token', claims)).token; }

  /**
   * Cause a fault on the server.
   * @param {'drop' | 'internal_error' | 'restart' | 'hold' | 'broker'} fault
   * @param {{user_id?: string, seconds?: number}} [target]
   * @returns {Promise<number>}  the number of sockets it affected
   */
  async injectFault(fault, target = {}) { return (await this.#post('dev/drill', { fault, ...target })).sockets; }

  /**
   * Send a batch of notifications.
   * @param {object[]} notifications
   * @returns {Promise<{sent: boolean, stored?: boolean, reason?: string, error?: {message: string}}[]>}  an answer for each
   */
  async send(notifications) { return (await this.#post('notify', notifications)).results; }

  /**
   * @param {string} path
   * @param {object} body
   * @returns {Promise<Record<string, any>>}
   */
  async #post(path, body) {
    const headers = { 'Content-Type': 'application/json', 'X-API-Key': this.#credentials.apiKey };
    const response = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body), cache: 'no-store', signal: timeLimit(TIMEOUT_MS) });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const fields = Object.entries(answer.error?.fields ?? {}).map(([name, reason]) => `${name}: ${reason}`);
    throw new Error([`${path}: ${response.status}`, answer.error?.message, ...fields].filter(Boolean).join(' · '));
  }
}
