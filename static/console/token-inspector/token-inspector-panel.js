/** The token inspector: the claims of a token, its validity, the routes it may open, the time to its expiry. */

import { byId, find, make, setText } from '../lib/dom.js';
import { formatTime } from '../lib/format-time.js';
import { formatNumber, t } from '../lib/i18n.js';
import { readPageData } from '../lib/page-data.js';
import { devicePath } from '../lib/page-urls.js';
import { claimTextsOf, isSuperuser, tenantOf } from '../lib/token-claims.js';
import { ExpiryDemo } from './expiry-demo.js';
import { probeRoute } from './route-probe.js';
import { checkToken } from './token-checks.js';

/** @typedef {import('./token-checks.js').Check} Check */

const UPDATE_EVERY_MS = 1_000;
/** @type {[string, string]} */
const ALL_TENANTS = ['/ws/tenants', 'ws/tenants'];
const DATE_CLAIMS = ['exp', 'nbf', 'iat'];

export class TokenInspectorPanel {
  #input = find(document, '#inspector-token', HTMLTextAreaElement);
  #signForm = find(document, '#inspector-sign', HTMLFormElement);
  #credentials;
  #devApi;
  #announce;
  #timer = 0;

  /** @param {{credentials: import('../lib/credentials.js').Credentials, permissions: import('../lib/permissions.js').Permissions, devApi: import('../lib/dev-api.js').DevApi, announce: (text: string) => void}} dependencies */
  constructor({ credentials, permissions, devApi, announce }) {
    this.#credentials = credentials;
    this.#devApi = devApi;
    this.#announce = announce;
    this.#input.addEventListener('input', () => this.#inspect());
    byId('inspector-current').addEventListener('click', () => this.#load(credentials.token));
    byId('inspector-use').addEventListener('click', () => { credentials.token = this.#input.value; });
    byId('inspector-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#askHermes();
    });
    this.#signForm.hidden = !readPageData().dev;
    this.#signForm.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#signToken();
    });
    permissions.addEventListener('change', () => { // only a key that may do all signs tokens
      for (const button of this.#signForm.querySelectorAll('button')) button.disabled = !permissions.isUnrestricted;
    });
    new ExpiryDemo(devApi);
  }

  show() {
    this.hide();
    this.#load(this.#input.value || this.#credentials.token);
    this.#timer = window.setInterval(() => this.#update(), UPDATE_EVERY_MS);
  }

  hide() { clearInterval(this.#timer); }

  get #token() { return this.#input.value.replace(/^\s*Bearer\s+/i, '').trim(); }

  /** @param {string} token */
  #load(token) {
    this.#input.value = token;
    this.#inspect();
  }

  /** Check the new token and discard the server's results for the one before. */
  #inspect() {
    byId('inspector-routes').replaceChildren(...this.#routes().map(([name]) => checkItem({ verdict: 'unknown', text: `${name}: ${t('inspector.not_checked')}` })));
    this.#update();
  }

  /** Check the token; called each second, because it may expire. */
  #update() {
    const { checks, claims } = this.#token ? checkToken(this.#token) : { checks: [], claims: null };
    const exp = claims?.exp;
    const left = typeof exp === 'number' ? Math.floor(exp - Date.now() / 1000) : null;
    setText(byId('inspector-remaining'), !claims ? '' : left === null ? t('inspector.never_expires') : t('inspector.seconds_left', { n: formatNumber(Math.max(0, left)) }));
    replaceIfChanged(byId('inspector-checks'), checks.map(checkItem));
    replaceIfChanged(byId('inspector-claims'), claimTextsOf(this.#token).map(([name, text]) => (
      make('div', {}, make('dt', {}, make('code', {}, name)), make('dd', {}, formatClaim(name, text))))));
  }

  /** @returns {[string, string][]}  for each route, its label and its path */
  #routes() {
    const { claims } = this.#token ? checkToken(this.#token) : { claims: null };
    const tenant = String((claims && tenantOf(claims)) ?? '') || '-';
    const device = readPageData().dev?.devices[0] ?? '-';
    return [['/ws/notifications', 'ws/notifications'],
      [`/ws/tenant/${tenant}`, `ws/tenant/${encodeURIComponent(tenant)}`],
      [`/ws/device/${device}`, devicePath(device)], ['/ws', 'ws'],
      ...(claims && isSuperuser(claims) ? [ALL_TENANTS] : [])];
  }

  async #askHermes() {
    const token = this.#token;
    if (!token) return this.#input.focus();
    const checks = await Promise.all(this.#routes().map(async ([name, path]) => {
      const { verdict, text } = await probeRoute(path, token);
      return { verdict, text: `${name}: ${text}` };
    }));
    if (token !== this.#token) return; // the user changed it meanwhile
    byId('inspector-routes').replaceChildren(...checks.map(checkItem));
    this.#announce(checks.map(({ text }) => text).join('. '));
  }

  async #signToken() {
    const { ttl_s, is_superuser, ...fields } = Object.fromEntries(new FormData(this.#signForm));
    const claims = Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
    try {
      this.#load(await this.#devApi.signToken({
        .../** @type {{user_id: string}} */ (claims), ttl_s: Number(ttl_s), is_superuser: Boolean(is_superuser),
      }));
    } catch (error) {
      replaceIfChanged(byId('inspector-checks'), [checkItem({ verdict: 'bad', text: String(error instanceof Error ? error.message : error) })]);
    }
  }
}

/**
 * Replace the items only if they differ, so that a text selection is not lost each second.
 * @param {HTMLElement} root
 * @param {HTMLElement[]} items
 */
function replaceIfChanged(root, items) {
  const same = root.childElementCount === items.length && items.every((item, index) => item.isEqualNode(root.children[index]));
  if (!same) root.replaceChildren(...items);
}

/** Create the list item of a check. @param {Check} check */
function checkItem({ verdict, text }) {
  return make('li', {}, make('span', { class: 'verdict', 'data-verdict': verdict }, t(`inspector.verdict.${verdict}`)), make('span', {}, text));
}

/**
 * Format a claim as JSON, dates also as a time.
 * @param {string} name
 * @param {string} text  JSON
 */
function formatClaim(name, text) {
  const value = DATE_CLAIMS.includes(name) ? JSON.parse(text) : null;
  return typeof value === 'number' ? `${text} (${formatTime(value * 1000)})` : text;
}
