/** The form fields for the token and the API key, with a list of the tokens that `--dev` signed. */

import { byId, find, make, setText } from '../lib/dom.js';
import { onFieldChange } from '../lib/field-change.js';
import { t } from '../lib/i18n.js';
import { claimsOf, describeToken, isSuperuser, tenantOf, userOf } from '../lib/token-claims.js';

/**
 * @typedef {import('../lib/page-data-types.js').DevToken} DevToken
 * @typedef {{user_id: string, tenant_id: string}} Owner  empty strings for missing claims
 */

export class TokenField {
  #input = find(document, '#token-value', HTMLInputElement);
  #key = find(document, '#key-value', HTMLInputElement);
  #picker = find(document, '#token-picker', HTMLSelectElement);
  #credentials;
  #permissions;
  #devTokens;

  /**
   * @param {import('../lib/credentials.js').Credentials} credentials
   * @param {import('../lib/permissions.js').Permissions} permissions
   * @param {DevToken[]} devTokens
   */
  constructor(credentials, permissions, devTokens) {
    this.#credentials = credentials;
    this.#permissions = permissions;
    this.#devTokens = devTokens;
    if (devTokens.length) this.#fillPicker();
    onFieldChange(this.#input, () => { credentials.token = this.#input.value; });
    onFieldChange(this.#key, () => { credentials.apiKey = this.#key.value; });
    find(document, '#token-show', HTMLButtonElement).addEventListener('click', (event) => this.#toggleSecrets(event));
    credentials.addEventListener('change', () => this.#update());
    permissions.addEventListener('change', () => this.#describeKey());
    credentials.addEventListener('renewed', () => this.#update());
    this.#update();
  }

  /** @returns {Owner} */
  get owner() {
    const { token } = this.#credentials;
    const claims = claimsOf(token) ?? {};
    return { user_id: String(userOf(claims) ?? ''), tenant_id: String(tenantOf(claims) ?? '') };
  }

  /** Whether the token says that its user is a superuser; only Hermes can check it. */
  get isSuperuser() { return isSuperuser(claimsOf(this.#credentials.token) ?? {}); }

  #fillPicker() {
    this.#picker.append(...this.#devTokens.map(({ label, token }) => make('option', { value: token }, label)));
    this.#picker.append(make('option', { value: '' }, t('connect.own_token')));
    byId('token-picker-label').hidden = false;
    this.#picker.addEventListener('change', () => {
      if (this.#picker.value) this.#credentials.token = this.#picker.value;
      else this.#input.select();
    });
  }

  /** Show the credentials in use. */
  #update() {
    const { token, apiKey } = this.#credentials;
    this.#input.value = token;
    this.#key.value = apiKey;
    this.#picker.value = this.#devTokens.some((known) => known.token === token) ? token : '';
    byId('token-summary').textContent = describeToken(token);
  }

  /** Show what the key may do. */
  #describeKey() {
    const { facts, isRejected } = this.#permissions;
    const about = facts && { name: facts.name, scopes: facts.scopes.join(', '), tenant: facts.tenant_id ?? '' };
    const text = about && t(facts.tenant_id == null ? 'connect.key_scopes' : 'connect.key_tenant', about);
    setText(byId('key-summary'), text ?? (isRejected ? t('overview.bad_key') : ''));
  }

  /** Show or hide the two secrets. @param {Event} event */
  #toggleSecrets(event) {
    const hidden = this.#input.type === 'password';
    for (const field of [this.#input, this.#key]) field.type = hidden ? 'text' : 'password';
    const button = /** @type {HTMLButtonElement} */ (event.currentTarget);
    button.textContent = t(hidden ? 'connect.hide' : 'connect.show');
    button.setAttribute('aria-pressed', String(hidden));
  }
}
