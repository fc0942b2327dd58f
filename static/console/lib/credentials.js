/**
 * The token and the API key of the user, stored for this tab until it is closed.
 *
 * A token of a sign-in is in memory only, and renewed before it expires.
 */

import { readEntry, removeEntry, storeEntry } from './storage.js';

const TOKEN_STORAGE_KEY = 'hermes.token';
const API_KEY_STORAGE_KEY = 'hermes.api-key';

/** Emits `change` when the token or the key changes, and `renewed` when the token is a newer one of the same sign-in. */
export class Credentials extends EventTarget {
  #token;
  #apiKey;
  /** @type {(() => Promise<boolean>) | null} */
  #renew = null;

  /**
   * @param {{token?: string, apiKey?: string}} defaults  from `--dev`, used if the user entered none
   */
  constructor(defaults) {
    super();
    this.#token = readEntry(TOKEN_STORAGE_KEY) ?? defaults.token ?? '';
    this.#apiKey = readEntry(API_KEY_STORAGE_KEY) ?? defaults.apiKey ?? '';
  }

  get token() { return this.#token; }

  /** @param {string} value  with or without the prefix `Bearer ` */
  set token(value) {
    const token = value.replace(/^\s*Bearer\s+/i, '').trim();
    if (token === this.#token) return;
    this.#token = token;
    this.#renew = null;
    storeEntry(TOKEN_STORAGE_KEY, token);
    this.dispatchEvent(new Event('change'));
  }

  /**
   * Use the token of a sign-in, which is not stored.
   * @param {string} token
   * @param {() => Promise<boolean>} renew  gets a newer one; false if the sign-in has ended
   */
  signIn(token, renew) {
    const renewed = this.#renew !== null;
    this.#token = token;
    this.#renew = renew;
    removeEntry(TOKEN_STORAGE_KEY);
    this.dispatchEvent(new Event(renewed ? 'renewed' : 'change'));
  }

  /** Forget the token of a sign-in. */
  signOut() {
    if (this.#renew) this.token = '';
  }

  /**
   * The token for a socket, newer than the last one if there is a reason.
   * @param {import('../../hermes-client-types.js').TokenReason} reason
   * @returns {Promise<string>}  empty if the sign-in has ended
   */
  async tokenFor(reason) {
    if (reason === 'first' || !this.#renew) return this.#token;
    return (await this.#renew()) ? this.#token : '';
  }

  get apiKey() { return this.#apiKey; }

  /** @param {string} value */
  set apiKey(value) {
    const key = value.trim();
    if (key === this.#apiKey) return;
    this.#apiKey = key;
    storeEntry(API_KEY_STORAGE_KEY, key);
    this.dispatchEvent(new Event('change'));
  }
}
