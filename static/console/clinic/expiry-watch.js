/** A socket on a token that lives as long as the form says, 30 seconds: watch it being refreshed, or closed with 1008. For `--dev`. */

import { HermesClient } from '../../hermes-client.js';
import { explainClose } from '../connect/close-codes.js';
import { byId, find, make, setHidden, setText } from '../element.js';
import { t } from '../strings.js';
import { claimsOf } from '../connect/claims.js';
import { clockWords } from '../time-words.js';

/** @typedef {import('../../hermes-client-types.js').TokenReason} TokenReason */

const REFRESH_AT = 1 / 3; // of the lifetime before its end
const EVENTS_KEPT = 50;

export class ExpiryWatch {
  #doors;
  /** @type {HermesClient | null} */
  #client = null;
  #expires = 0;
  #ticking = 0;

  /** @param {import('../dev-doors.js').DevDoors} doors */
  constructor(doors) {
    this.#doors = doors;
    byId('clinic-watch-refresh').addEventListener('click', () => this.#start(true));
    byId('clinic-watch-expiry').addEventListener('click', () => this.#start(false));
    byId('clinic-watch-stop').addEventListener('click', () => this.stop());
  }

  stop() {
    this.#client?.close();
    this.#client = null;
    this.#rest();
  }

  get #lifetimeS() { return Number(find(document, '#clinic-mint [name=ttl_s]', HTMLInputElement).value); }

  #rest() {
    this.#tick();
    clearInterval(this.#ticking);
    setHidden(byId('clinic-watch-stop'), true, byId('clinic-watch-refresh'));
  }

  /** @param {boolean} renewing  whether a new token is handed out when one is asked for */
  #start(renewing) {
    this.stop();
    byId('clinic-events').replaceChildren();
    const client = new HermesClient({
      url: '/ws/notifications', getToken: (reason) => this.#token(reason, renewing),
      refreshBeforeMs: this.#lifetimeS * 1_000 * REFRESH_AT,
    });
    this.#client = client;
    client.on('state', ({ state, close }) => {
      this.#note(t('clinic.event.state', { state: t(`state.${state}`), why: state === 'open' || !close ? '' : explainClose(close) }));
      byId('clinic-watch-state').dataset.state = state;
      if (state === 'refused') this.#rest();
    });
    client.on('refreshed', ({ expires }) => this.#note(t('clinic.event.refreshed', { time: expires ? clockWords(expires) : '–' })));
    byId('clinic-watch-state').hidden = byId('clinic-watch-stop').hidden = false;
    this.#ticking = window.setInterval(() => this.#tick(), 250);
    client.connect();
  }

  /**
   * @param {TokenReason} reason
   * @param {boolean} renewing
   */
  async #token(reason, renewing) {
    if (reason !== 'first' && !renewing) {
      this.#note(t('clinic.event.kept', { reason }));
      return null;
    }
    const token = await this.#doors.mint({ user_id: 'clinic', username: 'clinic', ttl_s: this.#lifetimeS }).catch((error) => {
      this.#note(error.message);
      throw error;
    });
    this.#expires = Number(claimsOf(token)?.exp) * 1000;
    this.#note(t('clinic.event.minted', { reason, time: clockWords(this.#expires) }));
    return token;
  }

  #tick() {
    const row = byId('clinic-watch-state');
    setText(find(row, '.word', HTMLElement), t(`state.${this.#client?.state ?? 'closed'}`));
    setText(find(row, '.detail', HTMLElement), t('clinic.seconds_left', { n: Math.max(0, Math.ceil((this.#expires - Date.now()) / 1000)) }));
  }

  /** @param {string} words */
  #note(words) {
    const list = byId('clinic-events');
    list.prepend(make('li', {}, make('time', {}, clockWords(Date.now())), ` ${words}`));
    while (list.childElementCount > EVENTS_KEPT) list.lastElementChild?.remove();
  }
}
