/**
 * What the API key in use may do, as `GET /key` answers it.
 *
 * @typedef {object} KeyFacts
 * @property {string} name
 * @property {string[]} scopes
 * @property {string | null} tenant_id  the only tenant that the key reaches
 */

import { timeLimit } from './time-limit.js';

const ASK_AGAIN_AFTER_MS = 15_000; // the keys of Hermes may change
const TIMEOUT_MS = 4_000;
const HEADER_VALUE = /^[\t\x20-\x7e\x80-\xff]+$/; // what `fetch` accepts
const UNRESTRICTED = ['disconnect', 'inbox', 'metrics', 'notify', 'presence', 'receipts', 'status'];

/** Emits `change` when the answer changes. */
export class Permissions extends EventTarget {
  #credentials;
  /** @type {KeyFacts | null} */
  #facts = null;
  #rejected = false;
  #askedFor = '';
  #askAgainAt = 0;

  /** @param {import('./credentials.js').Credentials} credentials */
  constructor(credentials) {
    super();
    this.#credentials = credentials;
    credentials.addEventListener('change', () => { if (credentials.apiKey !== this.#askedFor) this.#set(null, false); });
  }

  /** Null without a valid key, or while its permissions are not known. */
  get facts() { return this.#facts; }

  /** Whether Hermes does not know the key. */
  get isRejected() { return this.#rejected; }

  /** Whether the key may do all that a key without named scopes may do; true while that is not known. */
  get isUnrestricted() { return this.#facts?.tenant_id == null && UNRESTRICTED.every((scope) => this.may(scope)); }

  /** Whether the key has this scope; true while that is not known. @param {string} scope */
  may(scope) { return this.#facts?.scopes.includes(scope) ?? true; }

  /** Ask Hermes if the key is new, and again from time to time; throws if Hermes does not answer. */
  async update() {
    const { apiKey } = this.#credentials;
    if (!apiKey || (apiKey === this.#askedFor && Date.now() < this.#askAgainAt)) return;
    const sendable = HEADER_VALUE.test(apiKey); // a key that cannot be a header value is not valid
    const response = sendable ? await fetch('key', { headers: { 'X-API-Key': apiKey }, cache: 'no-store', signal: timeLimit(TIMEOUT_MS) }) : null;
    const facts = response?.ok ? await response.json() : null;
    if (apiKey !== this.#credentials.apiKey) return;
    this.#askedFor = apiKey;
    this.#askAgainAt = Date.now() + ASK_AGAIN_AFTER_MS;
    this.#set(Array.isArray(facts?.scopes) ? facts : null, !sendable || response?.status === 401);
  }

  /**
   * @param {KeyFacts | null} facts
   * @param {boolean} rejected
   */
  #set(facts, rejected) {
    if (rejected === this.#rejected && JSON.stringify(facts) === JSON.stringify(this.#facts)) return;
    this.#facts = facts;
    this.#rejected = rejected;
    this.dispatchEvent(new Event('change'));
  }
}
