/**
 * Requests to the inbox: with the token of a reader, or with the API key of a sender or an operator.
 *
 * Each method throws a `RequestFault` if Hermes refuses the request, and an Error if it does not answer.
 *
 * @typedef {object} InboxFrame  a notification or broadcast; or, with an `action`, what happened to one
 * @property {'acked' | 'withdrawn'} [action]
 * @property {number} seq
 * @property {number} [priority]
 * @property {number} [expires]  Unix ms
 * @property {number} [acked_at]  Unix ms
 * @property {string} [notification_id]  of a change
 * @property {number} [upto]  of an acknowledgement of several
 *
 * @typedef {object} InboxPage  the answer of `GET /inbox`
 * @property {string} epoch
 * @property {number} from
 * @property {number} to
 * @property {boolean} gap
 * @property {number} unread
 * @property {boolean} more
 * @property {InboxFrame[]} frames
 *
 * @typedef {object} Receipt  the answer of `GET /receipts`; times are Unix ms
 * @property {number} seq
 * @property {number} sockets
 * @property {number | null} acked_at
 * @property {boolean} withdrawn
 * @property {number} expires
 *
 * @typedef {object} Recipient
 * @property {string} id  of the notification
 * @property {'user_id' | 'tenant_id'} kind
 * @property {string} recipient
 *
 * @typedef {object} InboxStats  the answer of `GET /inbox/stats`
 * @property {string} epoch
 * @property {number} rows
 * @property {number} bytes
 * @property {number | null} oldest  Unix ms
 * @property {number} last_seq
 */

import { timeLimit } from './time-limit.js';

const TIMEOUT_MS = 10_000;

/** An answer of Hermes that is not a success. */
export class RequestFault extends Error {
  /** @param {number} status @param {string} code @param {string} message */
  constructor(status, code, message) {
    super([`${status} ${code}`.trim(), message].filter(Boolean).join(': '));
    this.status = status;
    this.code = code;
  }
}

export class InboxApi {
  #credentials;

  /** @param {import('./credentials.js').Credentials} credentials */
  constructor(credentials) { this.#credentials = credentials; }

  /** The next page after a position, oldest first, with the broadcasts of the tenant. @param {string} position @param {number} limit @returns {Promise<InboxPage>} */
  read(position, limit) { return this.#asReader(`inbox?${new URLSearchParams({ since: position, limit: String(limit), broadcasts: '1' })}`); }

  /** @param {{notification_id: string} | {upto: number, epoch: string}} body @returns {Promise<{acked: number}>} */
  ack(body) { return this.#asReader('ack', body); }

  /** @param {Recipient} target @returns {Promise<Receipt>} */
  receipt(target) { return this.#asSender('GET', `receipts?${query(target)}`); }

  /** @param {Recipient} target @returns {Promise<{withdrawn: boolean}>} */
  withdraw(target) { return this.#asSender('DELETE', `notify?${query(target)}`); }

  /** @returns {Promise<InboxStats>} */
  stats() { return this.#asSender('GET', 'inbox/stats'); }

  /**
   * Send with the token; once more with a new one if a sign-in can renew it.
   * @param {string} path
   * @param {object} [body]
   */
  async #asReader(path, body) {
    const { token } = this.#credentials;
    try {
      return await send(path, readerRequest(token, body));
    } catch (error) {
      if (!(error instanceof RequestFault) || error.status !== 401) throw error;
      const renewed = await this.#credentials.tokenFor('expired');
      if (!renewed || renewed === token) throw error;
      return send(path, readerRequest(renewed, body));
    }
  }

  /** @param {string} method @param {string} path */
  #asSender(method, path) {
    const { apiKey } = this.#credentials;
    return send(path, { method, headers: apiKey ? { 'X-API-Key': apiKey } : {} });
  }
}

/** @param {string} token @param {object} [body] @returns {RequestInit} */
function readerRequest(token, body) {
  const headers = { Authorization: `Bearer ${token}` };
  if (!body) return { headers };
  return { method: 'POST', headers: { ...headers, 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
}

/** @param {Recipient} target */
function query({ id, kind, recipient }) { return new URLSearchParams({ id, [kind]: recipient }); }

/** @param {string} path @param {RequestInit} init */
async function send(path, init) {
  const response = await fetch(path, { ...init, cache: 'no-store', signal: timeLimit(TIMEOUT_MS) });
  const answer = await response.json().catch(() => null);
  if (response.ok && answer) return answer;
  const { code = '', message = '', fields = {} } = answer?.error ?? {};
  const details = Object.entries(fields).map(([name, reason]) => `${name}: ${reason}`);
  throw new RequestFault(response.status, code, [message, ...details].filter(Boolean).join(' · '));
}
