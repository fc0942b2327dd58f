/** The panel of the four sockets: token and key, the sockets' cards, what went wrong. */

import { readBoot } from '../boot.js';
import { byId, make } from '../element.js';
import { maybe, t } from '../strings.js';
import { ErrorList } from './error-list.js';
import { faultWords } from './fault-words.js';
import { SocketCard } from './socket-card.js';
import { TokenField } from './token-field.js';

/**
 * @typedef {import('../../hermes-client.js').HermesClient} HermesClient
 *
 * @typedef {object} Surroundings
 * @property {import('../credentials.js').Credentials} credentials
 * @property {import('../notifications/histories.js').Histories} histories  the clients fill them
 * @property {(client: HermesClient, name: string) => void} attach  called with each new client
 * @property {(name: string, line: {kind: string, text: string}) => void} log
 * @property {(text: string) => void} say  to screen readers
 */

const PAINT_EVERY_MS = 250;
const ACKNOWLEDGING = ['notifications', 'legacy'];

export class ConnectPanel {
  cards;
  #errors = new ErrorList();
  #credentials;
  #field;
  #painting = 0;
  #token;

  /** @param {Surroundings} surroundings */
  constructor({ credentials, histories, attach, log, say }) {
    const { dev } = readBoot();
    this.#credentials = credentials;
    this.#token = credentials.token;
    this.#field = new TokenField(credentials, dev?.tokens ?? []);
    this.cards = [...document.querySelectorAll('form.socket')].map((root) => (
      new SocketCard(/** @type {HTMLFormElement} */ (root), {
        token: () => credentials.token,
        attach: (client, name) => {
          client.on('error', ({ message }) => this.#errors.add(maybe(`socket.${name}`) ?? name, faultWords(client, message)));
          attach(client, name);
        },
        histories, log, say,
      })));
    byId('device-ids').append(...(dev?.devices ?? []).map((value) => make('option', { value })));
    credentials.addEventListener('change', () => this.#changed());
    byId('token').addEventListener('submit', (event) => {
      event.preventDefault();
      this.connectAll();
    });
    byId('disconnect-all').addEventListener('click', () => this.cards.forEach((card) => card.disconnect()));
    this.#fillIn(({ id }) => !id);
  }

  /** Whose token it is. */
  get owner() { return this.#field.owner; }

  connectAll() { this.cards.filter(({ live }) => !live).forEach((card) => card.connect()); }

  /** On the notifications socket, else on the legacy one; whether it could be sent. @param {string} id */
  acknowledge(id) {
    const sent = this.cards.some(({ name, client }) => ACKNOWLEDGING.includes(name) && client?.ack(id));
    if (!sent) this.#errors.add(t('connect.ack_where'), t('connect.ack_not_sent'));
    return sent;
  }

  show() {
    this.hide();
    const paint = () => this.cards.forEach((card) => card.paint());
    paint();
    this.#painting = window.setInterval(paint, PAINT_EVERY_MS);
  }

  hide() { clearInterval(this.#painting); }

  #changed() {
    if (this.#token === this.#credentials.token) return;
    this.#token = this.#credentials.token;
    this.#fillIn(() => true);
    this.cards.filter(({ client }) => client).forEach((card) => card.connect()); // refused ones too: that is why it changed
  }

  /**
   * What the token says of its owner goes into the fields that ask for it.
   * @param {(card: SocketCard) => boolean} where
   */
  #fillIn(where) {
    const { tenant_id } = this.owner;
    const devices = readBoot().dev?.devices ?? [];
    for (const card of this.cards.filter(where)) {
      if (card.name === 'tenant' && tenant_id) card.id = tenant_id;
      if (card.name === 'device' && devices.length) card.id = devices[0];
    }
  }
}
