/** The token clinic: what a token says, whether it holds, what it may open, and how long it lives. */

import { readBoot } from '../boot.js';
import { byId, find, make, setText } from '../element.js';
import { number, t } from '../strings.js';
import { clockWords } from '../time-words.js';
import { ExpiryWatch } from './expiry-watch.js';
import { probe } from './route-probe.js';
import { examine, shown } from './token-checks.js';

/** @typedef {import('./token-checks.js').Check} Check */

const TICK_EVERY_MS = 1_000;
const DATES = ['exp', 'nbf', 'iat'];

export class ClinicPanel {
  #input = find(document, '#clinic-token', HTMLTextAreaElement);
  #mintForm = find(document, '#clinic-mint', HTMLFormElement);
  #credentials;
  #doors;
  #say;
  #ticking = 0;

  /** @param {{credentials: import('../credentials.js').Credentials, doors: import('../dev-doors.js').DevDoors, say: (text: string) => void}} surroundings */
  constructor({ credentials, doors, say }) {
    this.#credentials = credentials;
    this.#doors = doors;
    this.#say = say;
    this.#input.addEventListener('input', () => this.#examine());
    byId('clinic-current').addEventListener('click', () => this.#take(credentials.token));
    byId('clinic-use').addEventListener('click', () => { credentials.token = this.#input.value; });
    byId('clinic-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#askHermes();
    });
    this.#mintForm.hidden = !readBoot().dev;
    this.#mintForm.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#mint();
    });
    new ExpiryWatch(doors);
  }

  show() {
    this.hide();
    if (!this.#input.value) this.#take(this.#credentials.token);
    this.#ticking = window.setInterval(() => this.#findings(), TICK_EVERY_MS);
  }

  hide() { clearInterval(this.#ticking); }

  get #token() { return this.#input.value.replace(/^\s*Bearer\s+/i, '').trim(); }

  /** @param {string} token */
  #take(token) {
    this.#input.value = token;
    this.#examine();
  }

  /** Another token: what Hermes said of the one before no longer counts. */
  #examine() {
    byId('clinic-routes').replaceChildren(...this.#routes().map(([name]) => checkItem({ verdict: 'unknown', words: `${name}: ${t('clinic.not_asked')}` })));
    this.#findings();
  }

  /** Again each second: time passes. */
  #findings() {
    const { checks, claims } = this.#token ? examine(this.#token) : { checks: [], claims: null };
    const exp = claims?.exp;
    const left = typeof exp === 'number' ? Math.floor(exp - Date.now() / 1000) : null;
    setText(byId('clinic-left'), !claims ? '' : left === null ? t('clinic.for_ever') : t('clinic.seconds_left', { n: number(Math.max(0, left)) }));
    renew(byId('clinic-checks'), checks.map(checkItem));
    renew(byId('clinic-claims'), Object.entries(claims ?? {}).map(([name, value]) => (
      make('div', {}, make('dt', {}, make('code', {}, name)), make('dd', {}, claimWords(name, value))))));
  }

  /** @returns {[string, string][]}  the words for it, and the path */
  #routes() {
    const { claims } = this.#token ? examine(this.#token) : { claims: null };
    const tenant = String(claims?.tenant_id ?? '') || '-';
    const device = readBoot().dev?.devices[0] ?? '-';
    return [['/ws/notifications', '/ws/notifications'],
      [`/ws/tenant/${tenant}`, `/ws/tenant/${encodeURIComponent(tenant)}`],
      [`/ws/device/${device}`, `/ws/device/${encodeURIComponent(device)}`], ['/ws', '/ws']];
  }

  async #askHermes() {
    const token = this.#token;
    if (!token) return this.#input.focus();
    const verdicts = await Promise.all(this.#routes().map(async ([name, path]) => {
      const { verdict, words } = await probe(path, token);
      return { verdict, words: `${name}: ${words}` };
    }));
    if (token !== this.#token) return; // it has been changed meanwhile
    byId('clinic-routes').replaceChildren(...verdicts.map(checkItem));
    this.#say(verdicts.map(({ words }) => words).join('. '));
  }

  async #mint() {
    const { ttl_s, is_superuser, ...fields } = Object.fromEntries(new FormData(this.#mintForm));
    const whose = Object.fromEntries(Object.entries(fields).filter(([, value]) => value));
    try {
      this.#take(await this.#doors.mint({
        .../** @type {{user_id: string}} */ (whose), ttl_s: Number(ttl_s), is_superuser: Boolean(is_superuser),
      }));
    } catch (error) {
      renew(byId('clinic-checks'), [checkItem({ verdict: 'bad', words: String(error instanceof Error ? error.message : error) })]);
    }
  }
}

/**
 * Only what changed: a reader's selection survives the second.
 * @param {HTMLElement} root
 * @param {HTMLElement[]} items
 */
function renew(root, items) {
  const same = root.childElementCount === items.length && items.every((item, place) => item.isEqualNode(root.children[place]));
  if (!same) root.replaceChildren(...items);
}

/** @param {Check} check */
function checkItem({ verdict, words }) {
  return make('li', {}, make('span', { class: 'verdict', 'data-verdict': verdict }, t(`clinic.verdict.${verdict}`)), make('span', {}, words));
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function claimWords(name, value) {
  const words = shown(value);
  return DATES.includes(name) && typeof value === 'number' ? `${words} (${clockWords(value * 1000)})` : words;
}
