/** What a drill works with: people of its own, so that nobody else's sockets are hit, and what it measures. */

import { t } from '../strings.js';
import { DrillClient, until } from './drill-client.js';

/**
 * @typedef {import('../../hermes-client-types.js').Options} Options
 *
 * @typedef {object} Outcome
 * @property {boolean} passed
 * @property {string} words  what was seen
 * @property {[string, string][]} figures
 */

const OPEN_WITHIN_MS = 10_000;
const ARRIVE_WITHIN_MS = 5_000;
const LIFETIME_S = 600;
export const RETURN_WITHIN_MS = 35_000; // the longest back-off, and room for the handshake

export class Workshop {
  doors;
  /** @type {string | null} the page's own token's user, where tokens cannot be minted */
  #own;
  #token;
  #number = 0;
  #run = Math.random().toString(36).slice(2, 8);
  /** @type {DrillClient[]} */
  #clients = [];

  /**
   * @param {import('../dev-doors.js').DevDoors} doors
   * @param {{token: string, userId: string} | null} own  null where tokens can be minted
   */
  constructor(doors, own) {
    this.doors = doors;
    this.#own = own?.userId ?? null;
    this.#token = own?.token ?? '';
  }

  /** Somebody whom no other page is. @param {string} role */
  person(role) { return this.#own ?? `drill-${role}-${this.#run}`; }

  /**
   * @param {string} userId
   * @param {{tenantId?: string, ttlS?: number}} [more]
   */
  token(userId, { tenantId, ttlS = LIFETIME_S } = {}) {
    if (this.#token) return Promise.resolve(this.#token);
    return this.doors.mint({ user_id: userId, username: 'drill', tenant_id: tenantId, ttl_s: ttlS });
  }

  /**
   * An open client.
   * @param {string} url
   * @param {Options['getToken']} getToken
   * @param {Partial<Options>} [options]
   */
  async open(url, getToken, options = {}) {
    const made = this.make(url, getToken, options);
    await until(() => made.open, OPEN_WITHIN_MS, t('drills.what.open'));
    return made;
  }

  /**
   * @param {string} url
   * @param {Options['getToken']} getToken
   * @param {Partial<Options>} [options]
   */
  make(url, getToken, options = {}) {
    const made = new DrillClient({ url, getToken, ...options });
    this.#clients.push(made);
    return made;
  }

  /**
   * Sends so many numbered notifications and waits for those that were taken; answers what went wrong with them.
   * @param {DrillClient} client
   * @param {string} userId
   * @param {number} count
   */
  async tell(client, userId, count) {
    const notices = Array.from({ length: count }, () => {
      this.#number += 1;
      return { user_id: userId, id: `${this.#run}-${this.#number}`, title: t('drills.notice', { n: this.#number }), message: '', type: 'info' };
    });
    const began = performance.now();
    const sent = await this.doors.notify(notices);
    const ids = notices.filter((_, place) => sent[place]).map(({ id }) => id);
    await until(() => ids.every((id) => client.notices.has(id)), ARRIVE_WITHIN_MS, '').catch(() => null);
    return {
      took: performance.now() - began,
      unsent: count - ids.length,
      lost: ids.filter((id) => !client.notices.has(id)).length,
      doubled: ids.filter((id) => (client.notices.get(id) ?? 0) > 1).length,
    };
  }

  /**
   * A fault that hits nobody is none.
   * @param {Parameters<import('../dev-doors.js').DevDoors['cause']>[0]} fault
   * @param {{user_id: string, seconds?: number}} where
   */
  async cause(fault, where) {
    if (!await this.doors.cause(fault, where)) throw new Error(t('drills.hit_nobody'));
  }

  /** Ends all clients of the drill. */
  clear() { for (const each of this.#clients) each.close(); }
}
