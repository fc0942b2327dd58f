/** The resources of one drill run: users, tokens, clients and faults. Each run uses users of its own. */

import { t } from '../lib/i18n.js';
import { readPageData } from '../lib/page-data.js';
import { delay, DrillClient, waitFor } from './drill-client.js';
import { ResumingSocket } from './resuming-socket.js';

/**
 * @typedef {import('../../hermes-client-types.js').Options} Options
 *
 * @typedef {object} Outcome
 * @property {boolean} passed
 * @property {string} text  what was observed
 * @property {[string, string][]} figures
 */

const OPEN_TIMEOUT_MS = 10_000;
const DELIVERY_TIMEOUT_MS = 5_000;
const TOKEN_LIFETIME_S = 600;
const CLOSE_TIMEOUT_MS = 30_000; // a closing handshake that is not answered ends before
export const RECONNECT_TIMEOUT_MS = 35_000; // the longest back-off and the handshake

export class DrillContext {
  devApi;
  inboxApi;
  /** @type {string | null} the user of the token in use, if tokens cannot be signed */
  #ownUserId;
  #token;
  #lastNumber = 0;
  #runId = Math.random().toString(36).slice(2, 8);
  /** @type {(DrillClient | ResumingSocket)[]} */
  #clients = [];

  /**
   * @param {import('../lib/dev-api.js').DevApi} devApi
   * @param {import('../lib/inbox-api.js').InboxApi} inboxApi
   * @param {{token: string, userId: string} | null} own  null if tokens can be signed
   */
  constructor(devApi, inboxApi, own) {
    this.devApi = devApi;
    this.inboxApi = inboxApi;
    this.#ownUserId = own?.userId ?? null;
    this.#token = own?.token ?? '';
  }

  /** A user id that no other page uses. @param {string} role */
  userId(role) { return this.#ownUserId ?? `drill-${role}-${this.#runId}`; }

  /**
   * A token of this user.
   * @param {string} userId
   * @param {{tenantId?: string, ttlS?: number}} [options]
   */
  token(userId, { tenantId, ttlS = TOKEN_LIFETIME_S } = {}) {
    if (this.#token) return Promise.resolve(this.#token);
    return this.devApi.signToken({ user_id: userId, username: 'drill', tenant_id: tenantId, ttl_s: ttlS });
  }

  /**
   * Create a client and wait until it is open.
   * @param {string} url
   * @param {Options['getToken']} getToken
   * @param {Partial<Options>} [options]
   */
  async openClient(url, getToken, options = {}) {
    const created = this.createClient(url, getToken, options);
    await waitFor(() => created.open, OPEN_TIMEOUT_MS, t('drills.wait.open'));
    return created;
  }

  /**
   * Create a client; it starts to connect.
   * @param {string} url
   * @param {Options['getToken']} getToken
   * @param {Partial<Options>} [options]
   */
  createClient(url, getToken, options = {}) {
    const created = new DrillClient({ url, getToken, ...options });
    this.#clients.push(created);
    return created;
  }

  /** Open a plain socket that resumes. @param {string} position @param {string} token */
  openResuming(position, token) {
    const created = new ResumingSocket(position, token);
    this.#clients.push(created);
    return created;
  }

  /** Ids that were not used before. @param {number} count */
  newIds(count) { return Array.from({ length: count }, () => `${this.#runId}-${this.#lastNumber += 1}`); }

  /**
   * Send numbered notifications, wait for them, and count the lost and duplicated ones. They are not stored: the user
   * may be real.
   * @param {DrillClient} client
   * @param {string} userId
   * @param {number} count
   */
  async sendNotifications(client, userId, count) {
    const options = readPageData().inbox ? { ttl_s: 0 } : {};
    const notifications = this.newIds(count).map((id, index) => (
      { user_id: userId, id, title: t('drills.notification', { n: index + 1 }), message: '', type: 'info', ...options }));
    const startedAt = performance.now();
    const results = await this.devApi.send(notifications);
    const ids = notifications.filter((_, index) => results[index].sent).map(({ id }) => id);
    await waitFor(() => ids.every((id) => client.received.has(id)), DELIVERY_TIMEOUT_MS, '').catch(() => null);
    return {
      took: performance.now() - startedAt,
      unsent: count - ids.length,
      lost: ids.filter((id) => !client.received.has(id)).length,
      duplicated: ids.filter((id) => (client.received.get(id) ?? 0) > 1).length,
    };
  }

  /**
   * Cause a fault; throws an Error if it affects no socket.
   * @param {Parameters<import('../lib/dev-api.js').DevApi['injectFault']>[0]} fault
   * @param {{user_id: string, seconds?: number}} target
   */
  async injectFault(fault, target) {
    if (!await this.devApi.injectFault(fault, target)) throw new Error(t('drills.no_socket_hit'));
  }

  /**
   * Close all clients, and wait until the browser has closed their sockets.
   *
   * A browser limits the sockets of a page, and those that are closing count.
   */
  async closeClients() { await Promise.race([Promise.all(this.#clients.map((each) => each.close())), delay(CLOSE_TIMEOUT_MS)]); }
}
