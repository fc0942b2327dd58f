/**
 * Demonstration of token expiry, with `--dev` only.
 *
 * Open a socket with a token of the lifetime in the form, by default 30 s. The client refreshes the token, or the server
 * closes the socket with 1008.
 */

import { HermesClient } from '../../hermes-client.js';
import { explainClose } from '../lib/close-codes.js';
import { byId, find, make, setHidden, setText } from '../lib/dom.js';
import { formatTime } from '../lib/format-time.js';
import { t } from '../lib/i18n.js';
import { claimsOf } from '../lib/token-claims.js';

/** @typedef {import('../../hermes-client-types.js').TokenReason} TokenReason */

const REFRESH_AT_FRACTION = 1 / 3; // of the lifetime left
const EVENTS_MAX = 50;

export class ExpiryDemo {
  #devApi;
  /** @type {HermesClient | null} */
  #client = null;
  #expires = 0;
  #timer = 0;

  /** @param {import('../lib/dev-api.js').DevApi} devApi */
  constructor(devApi) {
    this.#devApi = devApi;
    byId('inspector-demo-refresh').addEventListener('click', () => this.#start(true));
    byId('inspector-demo-expiry').addEventListener('click', () => this.#start(false));
    byId('inspector-demo-stop').addEventListener('click', () => this.stop());
  }

  stop() {
    this.#client?.close();
    this.#client = null;
    this.#finish();
  }

  get #lifetimeS() { return Number(find(document, '#inspector-sign [name=ttl_s]', HTMLInputElement).value); }

  #finish() {
    this.#update();
    clearInterval(this.#timer);
    setHidden(byId('inspector-demo-stop'), true, byId('inspector-demo-refresh'));
  }

  /** @param {boolean} refreshing  supply a new token when the client asks for one */
  #start(refreshing) {
    this.stop();
    byId('inspector-events').replaceChildren();
    const client = new HermesClient({
      url: 'ws/notifications', getToken: (reason) => this.#token(reason, refreshing),
      refreshBeforeMs: this.#lifetimeS * 1_000 * REFRESH_AT_FRACTION, retryRefusedMs: 0, resume: false,
    });
    this.#client = client;
    client.on('state', ({ state, close }) => {
      this.#addEvent(t('inspector.event.state', { state: t(`state.${state}`), reason: state === 'open' || !close ? '' : explainClose(close) }));
      byId('inspector-demo-state').dataset.state = state;
      if (state === 'refused') this.#finish();
    });
    client.on('refreshed', ({ expires }) => this.#addEvent(t('inspector.event.refreshed', { time: expires ? formatTime(expires) : '–' })));
    byId('inspector-demo-state').hidden = byId('inspector-demo-stop').hidden = false;
    this.#timer = window.setInterval(() => this.#update(), 250);
    client.connect();
  }

  /**
   * Supply a token to the client.
   * @param {TokenReason} reason
   * @param {boolean} refreshing
   */
  async #token(reason, refreshing) {
    if (reason !== 'first' && !refreshing) {
      this.#addEvent(t('inspector.event.no_token', { reason }));
      return null;
    }
    const token = await this.#devApi.signToken({ user_id: 'expiry-demo', username: 'expiry-demo', ttl_s: this.#lifetimeS }).catch((error) => {
      this.#addEvent(error.message);
      throw error;
    });
    this.#expires = Number(claimsOf(token)?.exp) * 1000;
    this.#addEvent(t('inspector.event.new_token', { reason, time: formatTime(this.#expires) }));
    return token;
  }

  #update() {
    const row = byId('inspector-demo-state');
    setText(find(row, '.label', HTMLElement), t(`state.${this.#client?.state ?? 'closed'}`));
    setText(find(row, '.detail', HTMLElement), t('inspector.seconds_left', { n: Math.max(0, Math.ceil((this.#expires - Date.now()) / 1000)) }));
  }

  /** Add a line to the list of events, newest first. @param {string} text */
  #addEvent(text) {
    const list = byId('inspector-events');
    list.prepend(make('li', {}, make('time', {}, formatTime(Date.now())), ` ${text}`));
    while (list.childElementCount > EVENTS_MAX) list.lastElementChild?.remove();
  }
}
