/** The token and the API key of the user, stored for this tab until it is closed. */

import { readEntry, storeEntry } from './storage.js';

const TOKEN_STORAGE_KEY = 'hermes.token';
const API_KEY_STORAGE_KEY = 'hermes.api-key';

/** Emits `change` when the token or the key changes. */
export class Credentials extends EventTarget {
  #token;
  #apiKey;

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
    storeEntry(TOKEN_STORAGE_KEY, token);
    this.dispatchEvent(new Event('change'));
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
