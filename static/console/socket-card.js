/** One of the four sockets: its fields, its state, its figures. */

import { HermesClient } from '../hermes-client.js';
import { explainClose, explainRefusal } from './close-codes.js';
import { find } from './element.js';

/**
 * @typedef {import('../hermes-client.js').Status} Status
 *
 * @typedef {object} Surroundings
 * @property {() => string} token
 * @property {(client: HermesClient, name: string) => void} attach  called with each new client
 * @property {(text: string) => void} say  to screen readers
 */

const COUNTDOWN_EVERY_MS = 100;
const ROUND_TRIPS_KEPT = 5;

export class SocketCard {
  /** @type {HermesClient | null} */
  client = null;
  name;
  #root;
  #surroundings;
  #field;
  #frames = 0;
  #painting = false;
  /** @type {number[]} */
  #roundTrips = [];
  #countdown = 0;

  /**
   * @param {HTMLFormElement} root
   * @param {Surroundings} surroundings
   */
  constructor(root, surroundings) {
    this.#root = root;
    this.#surroundings = surroundings;
    this.name = root.dataset.socket ?? '';
    this.#field = root.querySelector('input');
    this.#field?.addEventListener('change', () => this.client && this.connect());
    this.#part('.now').addEventListener('click', () => this.client?.connect());
    root.addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.live) this.disconnect();
      else this.connect();
    });
  }

  /** Whether the socket is open or on its way. */
  get live() { return Boolean(this.client) && this.client?.state !== 'refused'; }

  /** The device or tenant id. @param {string} id */
  set id(id) { if (this.#field) this.#field.value = id; }

  connect() {
    this.client?.close();
    this.client = null;
    const path = this.#path();
    if (!path) return this.#askForId();
    const client = new HermesClient({ url: path, getToken: this.#surroundings.token });
    this.client = client;
    client.on('state', (status) => this.#show(status));
    client.on('frame', () => this.#countFrame());
    client.on('rtt', (ms) => this.#showRoundTrip(ms));
    this.#surroundings.attach(client, this.name);
    client.connect();
  }

  disconnect() {
    this.client?.close();
    this.client = null;
  }

  #path() {
    const id = this.#field?.value.trim();
    if (this.name === 'legacy') return '/ws';
    if (this.name === 'notifications') return '/ws/notifications';
    return id ? `/ws/${this.name}/${encodeURIComponent(id)}` : '';
  }

  #askForId() {
    this.#part('.note').textContent = `enter a ${this.name} id first`;
    this.#field?.focus();
  }

  /** @param {Status} status */
  #show(status) {
    clearInterval(this.#countdown);
    this.#root.dataset.state = status.state;
    this.#part('.word').textContent = status.state;
    this.#part('.toggle').textContent = ['closed', 'refused'].includes(status.state) ? 'Connect' : 'Disconnect';
    this.#part('.now').hidden = status.state !== 'waiting';
    if (status.close) this.#part('.close').textContent = explainClose(status.close);
    const note = status.state === 'refused' ? explainRefusal(status.close) : '';
    this.#part('.note').textContent = note;
    if (status.state === 'waiting') this.#countDown(status);
    this.#surroundings.say(`${this.name} socket: ${status.state} ${note}`);
  }

  /** @param {Status} status */
  #countDown({ nextTryAt, attempt }) {
    const tick = () => {
      const seconds = Math.max(0, nextTryAt - Date.now()) / 1000;
      this.#part('.note').textContent = `next try in ${seconds.toFixed(1)} s, attempt ${attempt}`;
    };
    tick();
    this.#countdown = window.setInterval(tick, COUNTDOWN_EVERY_MS);
  }

  /** Counts at once, paints once per picture: frames may come by the hundred a second. */
  #countFrame() {
    this.#frames += 1;
    if (this.#painting) return;
    this.#painting = true;
    requestAnimationFrame(() => {
      this.#painting = false;
      this.#part('.frames').textContent = this.#frames.toLocaleString();
    });
  }

  /** @param {number} ms */
  #showRoundTrip(ms) {
    this.#roundTrips = [ms, ...this.#roundTrips].slice(0, ROUND_TRIPS_KEPT);
    const [last, ...before] = this.#roundTrips.map((each) => each.toFixed(1));
    this.#part('.rtt').textContent = `${last} ms${before.length ? ` (before: ${before.join(', ')})` : ''}`;
  }

  /** @param {string} selector */
  #part(selector) { return find(this.#root, selector, HTMLElement); }
}
