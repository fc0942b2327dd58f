/** Where the token and the key are brought: pasted, or picked from those that `--dev` made ready. */

import { claimsOf, tokenWords } from './claims.js';
import { byId, find, make } from '../element.js';
import { t } from '../strings.js';

/**
 * @typedef {import('../boot.js').ReadyToken} ReadyToken
 * @typedef {{user_id: string, tenant_id: string}} Owner  empty where the token does not say
 */

export class TokenField {
  #input = find(document, '#token-value', HTMLInputElement);
  #key = find(document, '#key-value', HTMLInputElement);
  #picker = find(document, '#token-picker', HTMLSelectElement);
  #credentials;
  #ready;

  /**
   * @param {import('../credentials.js').Credentials} credentials
   * @param {ReadyToken[]} ready
   */
  constructor(credentials, ready) {
    this.#credentials = credentials;
    this.#ready = ready;
    if (ready.length) this.#offer();
    this.#input.addEventListener('change', () => { credentials.token = this.#input.value; });
    this.#key.addEventListener('change', () => { credentials.apiKey = this.#key.value; });
    find(document, '#token-show', HTMLButtonElement).addEventListener('click', (event) => this.#show(event));
    credentials.addEventListener('change', () => this.#tell());
    this.#tell();
  }

  /** @returns {Owner} */
  get owner() {
    const { token } = this.#credentials;
    const { user_id, tenant_id } = this.#ready.find((each) => each.token === token) ?? claimsOf(token) ?? {};
    return { user_id: String(user_id ?? ''), tenant_id: String(tenant_id ?? '') };
  }

  #offer() {
    this.#picker.append(...this.#ready.map(({ label, token }) => make('option', { value: token }, label)));
    this.#picker.append(make('option', { value: '' }, t('connect.own_token')));
    byId('token-picker-label').hidden = false;
    this.#picker.addEventListener('change', () => {
      if (this.#picker.value) this.#credentials.token = this.#picker.value;
      else this.#input.select();
    });
  }

  #tell() {
    const { token, apiKey } = this.#credentials;
    this.#input.value = token;
    this.#key.value = apiKey;
    this.#picker.value = this.#ready.some((each) => each.token === token) ? token : '';
    byId('token-words').textContent = tokenWords(token);
  }

  /** @param {Event} event */
  #show(event) {
    const hidden = this.#input.type === 'password';
    for (const field of [this.#input, this.#key]) field.type = hidden ? 'text' : 'password';
    const button = /** @type {HTMLButtonElement} */ (event.currentTarget);
    button.textContent = t(hidden ? 'connect.hide' : 'connect.show');
    button.setAttribute('aria-pressed', String(hidden));
  }
}
