/** The panel with the token, the API key, the sockets and the list of errors. */

import { byId, make } from '../lib/dom.js';
import { t, tOptional } from '../lib/i18n.js';
import { readPageData } from '../lib/page-data.js';
import { ErrorList } from './error-list.js';
import { translateError } from './error-messages.js';
import { SocketCard } from './socket-card.js';
import { TokenField } from './token-field.js';

/**
 * @typedef {import('../../hermes-client.js').HermesClient} HermesClient
 *
 * @typedef {object} Dependencies
 * @property {import('../lib/credentials.js').Credentials} credentials
 * @property {import('../lib/permissions.js').Permissions} permissions
 * @property {import('../notifications/user-histories.js').UserHistories} histories  the clients add to them
 * @property {(client: HermesClient, name: string) => void} attach  called for each new client
 * @property {(name: string, line: {kind: string, text: string}) => void} log
 * @property {(text: string) => void} announce  report to screen readers
 */

const PAINT_EVERY_MS = 250;
const ACK_SOCKETS = ['notifications', 'combined'];

export class ConnectPanel {
  cards;
  #errors = new ErrorList();
  #credentials;
  #field;
  #paintTimer = 0;
  #token;

  /** @param {Dependencies} dependencies */
  constructor({ credentials, permissions, histories, attach, log, announce }) {
    const { dev } = readPageData();
    this.#credentials = credentials;
    this.#token = credentials.token;
    this.#field = new TokenField(credentials, permissions, dev?.tokens ?? []);
    this.cards = [...document.querySelectorAll('form.socket')].map((root) => (
      new SocketCard(/** @type {HTMLFormElement} */ (root), {
        token: (reason) => credentials.tokenFor(reason),
        attach: (client, name) => {
          client.on('error', ({ message }) => this.#errors.add(tOptional(`socket.${name}`) ?? name, translateError(client, message)));
          attach(client, name);
        },
        histories, log, announce,
      })));
    this.#offerSockets();
    byId('device-ids').append(...(dev?.devices ?? []).map((value) => make('option', { value })));
    credentials.addEventListener('change', () => this.#reconnect());
    credentials.addEventListener('renewed', () => { this.#token = credentials.token; }); // the open sockets get it by a refresh
    byId('token').addEventListener('submit', (event) => {
      event.preventDefault();
      this.connectAll();
    });
    byId('disconnect-all').addEventListener('click', () => this.cards.forEach((card) => card.disconnect()));
    this.#prefill(({ id }) => !id);
  }

  /** The user and the tenant of the token. */
  get owner() { return this.#field.owner; }

  connectAll() { this.cards.filter(({ active, isOffered }) => isOffered && !active).forEach((card) => card.connect()); }

  /** Offer the socket of all tenants to superusers only. */
  #offerSockets() {
    for (const card of this.cards) if (card.name === 'tenants') card.isOffered = this.#field.isSuperuser;
  }

  /** Acknowledge on the first open socket that carries notifications; false if there is none. @param {string} id */
  acknowledge(id) {
    const sent = this.cards.some(({ name, client }) => ACK_SOCKETS.includes(name) && client?.ack(id));
    if (!sent) this.#errors.add(t('connect.ack'), t('connect.ack_not_sent'));
    return sent;
  }

  show() {
    this.hide();
    const paint = () => this.cards.forEach((card) => card.paint());
    paint();
    this.#paintTimer = window.setInterval(paint, PAINT_EVERY_MS);
  }

  hide() { clearInterval(this.#paintTimer); }

  #reconnect() {
    if (this.#token === this.#credentials.token) return;
    this.#token = this.#credentials.token;
    this.#prefill(() => true);
    this.#offerSockets();
    this.cards.filter(({ client }) => client).forEach((card) => card.connect()); // rejected ones too: the new token may be accepted
  }

  /**
   * Fill in the tenant id of the token and the first device id.
   * @param {(card: SocketCard) => boolean} filter
   */
  #prefill(filter) {
    const { tenant_id } = this.owner;
    const devices = readPageData().dev?.devices ?? [];
    for (const card of this.cards.filter(filter)) {
      if (card.name === 'tenant' && tenant_id) card.id = tenant_id;
      if (card.name === 'device' && devices.length) card.id = devices[0];
    }
  }
}
