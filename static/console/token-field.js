/** The one token that all sockets share: pasted, or picked from those that `--dev` made ready. */

import { byId, find, make } from './element.js';
import { clockWords } from './time-words.js';

/**
 * @typedef {import('./boot.js').ReadyToken} ReadyToken
 * @typedef {{user_id: string, tenant_id: string}} Owner  empty where the token does not say
 */

const KEPT_AS = 'hermes.token'; // in sessionStorage: for this tab, until it is closed

export class TokenField extends EventTarget {
  #input = find(document, '#token-value', HTMLInputElement);
  #picker = find(document, '#token-picker', HTMLSelectElement);
  #words = byId('token-words');
  #ready;

  /** @param {ReadyToken[]} ready */
  constructor(ready) {
    super();
    this.#ready = ready;
    if (ready.length) this.#offer(ready);
    else this.#input.value = sessionStorage.getItem(KEPT_AS) ?? '';
    this.#input.addEventListener('change', () => this.#changed());
    find(document, '#token-show', HTMLButtonElement).addEventListener('click', (event) => this.#show(event));
    this.#tell();
  }

  get value() { return this.#input.value.replace(/^\s*Bearer\s+/i, '').trim(); }

  /** @returns {Owner} */
  get owner() {
    const known = this.#ready.find(({ token }) => token === this.value);
    const { user_id, tenant_id } = known ?? claimsOf(this.value) ?? {};
    return { user_id: String(user_id ?? ''), tenant_id: String(tenant_id ?? '') };
  }

  /** @param {ReadyToken[]} ready */
  #offer(ready) {
    this.#picker.append(...ready.map(({ label, token }) => make('option', { value: token }, label)));
    this.#picker.append(make('option', { value: '' }, 'my own…'));
    this.#input.value = this.#picker.value = ready[0].token;
    byId('token-picker-label').hidden = false;
    this.#picker.addEventListener('change', () => {
      this.#input.value = this.#picker.value;
      if (this.#picker.value) this.#changed();
      else this.#input.focus();
    });
  }

  #changed() {
    sessionStorage.setItem(KEPT_AS, this.value);
    this.#picker.value = this.#ready.some(({ token }) => token === this.value) ? this.value : '';
    this.#tell();
    this.dispatchEvent(new Event('change'));
  }

  #tell() { this.#words.textContent = tokenWords(this.value); }

  /** @param {Event} event */
  #show(event) {
    const hidden = this.#input.type === 'password';
    this.#input.type = hidden ? 'text' : 'password';
    const button = /** @type {HTMLButtonElement} */ (event.currentTarget);
    button.textContent = hidden ? 'Hide' : 'Show';
    button.setAttribute('aria-pressed', String(hidden));
  }
}

/**
 * The claims as the token states them; only the server can tell whether they are true.
 * @param {string} token
 * @returns {Record<string, any> | null}
 */
function claimsOf(token) {
  try {
    const base64 = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes));
    return typeof claims === 'object' ? claims : null;
  } catch {
    return null;
  }
}

/** @param {string} token */
function tokenWords(token) {
  if (!token) return 'No token yet. “hermes token --user … --username …” on the gateway prints one.';
  const claims = claimsOf(token);
  if (!claims) return 'This does not look like a JWT.';
  const tenant = claims.tenant_id === undefined ? 'no tenant' : `tenant ${claims.tenant_id}`;
  return `It says: user ${claims.user_id} (${claims.username}), ${tenant}${claims.is_superuser === true ? ', superuser' : ''}, `
    + expiryWords(claims.exp);
}

/** @param {unknown} exp  Unix seconds */
function expiryWords(exp) {
  if (typeof exp !== 'number') return 'never expires.';
  return `${exp * 1000 < Date.now() ? 'EXPIRED' : 'expires'} ${clockWords(exp * 1000)}.`;
}
