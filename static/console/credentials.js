/** What the user brought along: a token and an API key. Kept for this tab, until it is closed. */

const TOKEN_KEPT_AS = 'hermes.token';
const KEY_KEPT_AS = 'hermes.api-key';

/** Tells `change` when either changes. */
export class Credentials extends EventTarget {
  #token;
  #apiKey;

  /**
   * What `--dev` made ready stands in for what was never brought.
   * @param {{token?: string, apiKey?: string}} ready
   */
  constructor(ready) {
    super();
    this.#token = sessionStorage.getItem(TOKEN_KEPT_AS) ?? ready.token ?? '';
    this.#apiKey = sessionStorage.getItem(KEY_KEPT_AS) ?? ready.apiKey ?? '';
  }

  get token() { return this.#token; }

  /** @param {string} given  also with `Bearer ` before it */
  set token(given) {
    const token = given.replace(/^\s*Bearer\s+/i, '').trim();
    if (token === this.#token) return;
    this.#token = token;
    sessionStorage.setItem(TOKEN_KEPT_AS, token);
    this.dispatchEvent(new Event('change'));
  }

  get apiKey() { return this.#apiKey; }

  /** @param {string} given */
  set apiKey(given) {
    const key = given.trim();
    if (key === this.#apiKey) return;
    this.#apiKey = key;
    sessionStorage.setItem(KEY_KEPT_AS, key);
    this.dispatchEvent(new Event('change'));
  }
}
