/** One of the four sockets: its fields, its state, its figures. */

import { HermesClient } from '../../hermes-client.js';
import { LineChart } from '../chart.js';
import { find, setHidden, setText } from '../element.js';
import { number, t, tenths } from '../strings.js';
import { explainClose, explainRefusal } from './close-codes.js';

/**
 * @typedef {import('../../hermes-client-types.js').Status} Status
 *
 * @typedef {object} Surroundings
 * @property {() => string} token
 * @property {import('../notifications/histories.js').Histories} histories
 * @property {(client: HermesClient, name: string) => void} attach  called with each new client
 * @property {(name: string, line: {kind: string, text: string}) => void} log
 * @property {(text: string) => void} say  to screen readers
 */

const COUNTDOWN_EVERY_MS = 100;
const CHART_SPAN_MS = 600_000; // twenty heartbeats
const CHART_HEIGHT = 90;
const NOTHING = { received: 0, sent: 0, bytesIn: 0, bytesOut: 0 };

/** Tells `state` at each change of its client's. */
export class SocketCard extends EventTarget {
  /** @type {HermesClient | null} */
  client = null;
  name;
  #root;
  #surroundings;
  #field;
  #opened = 0;
  #before = NOTHING;
  #countdown = 0;
  #chart;

  /**
   * @param {HTMLFormElement} root
   * @param {Surroundings} surroundings
   */
  constructor(root, surroundings) {
    super();
    this.#root = root;
    this.#surroundings = surroundings;
    this.name = root.dataset.socket ?? '';
    this.#field = root.querySelector('input');
    if (this.#field) this.#field.value = sessionStorage.getItem(this.#idKeptAs) ?? '';
    this.#chart = new LineChart(this.#part('.rtt-chart'), {
      title: t('connect.rtt_chart'), unit: 'ms', spanMs: CHART_SPAN_MS, height: CHART_HEIGHT,
      series: [{ label: t('connect.rtt'), colour: 'var(--series-1)' }],
    });
    this.#field?.addEventListener('change', () => this.client && this.connect());
    this.#part('.now').addEventListener('click', () => this.client?.connect());
    this.#part('.ping').addEventListener('click', () => this.client?.ping());
    root.addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.live) return this.disconnect();
      this.connect();
      if (!this.client) this.#field?.focus(); // it asks for an id
    });
  }

  /** Whether the socket is open or on its way. */
  get live() { return Boolean(this.client) && this.client?.state !== 'refused'; }

  get state() { return this.client?.state ?? 'closed'; }

  /** The device or tenant id; kept for this tab once it was used. */
  get id() { return this.#field?.value.trim() ?? ''; }

  set id(id) { if (this.#field) this.#field.value = id; }

  get #idKeptAs() { return `hermes.id.${this.name}`; }

  connect() {
    this.disconnect();
    const path = this.#path();
    if (!path) return this.#askForId();
    if (this.id) sessionStorage.setItem(this.#idKeptAs, this.id);
    const { token, histories, log, attach } = this.#surroundings;
    const client = new HermesClient({
      url: path, getToken: token, history: histories.current, log: (line) => log(this.name, line),
    });
    this.client = client;
    client.on('state', (status) => this.#show(status));
    client.on('rtt', (ms) => this.#chart.push(Date.now(), [ms]));
    client.on('rtt', (ms) => setText(this.#part('.rtt'), `${number(ms)} ms`));
    attach(client, this.name);
    client.connect();
  }

  disconnect() {
    const { client } = this;
    if (!client) return;
    client.close();
    this.#before = this.counts;
    this.client = null;
  }

  /** What this card's clients have sent and received, all in all. */
  get counts() {
    const { received, sent, bytesIn, bytesOut } = this.client?.counts ?? NOTHING;
    const before = this.#before;
    return {
      received: before.received + received, sent: before.sent + sent,
      bytesIn: before.bytesIn + bytesIn, bytesOut: before.bytesOut + bytesOut,
    };
  }

  /** Frames may come by the hundred a second, so the figures are painted now and then. */
  paint() {
    const { received, sent, bytesIn, bytesOut } = this.counts;
    setText(this.#part('.frames'), `${number(received)} / ${number(sent)}`);
    setText(this.#part('.bytes'), `${number(bytesIn)} / ${number(bytesOut)}`);
    this.#chart.paint();
  }

  #path() {
    if (this.name === 'legacy') return '/ws';
    if (this.name === 'notifications') return '/ws/notifications';
    return this.id ? `/ws/${this.name}/${encodeURIComponent(this.id)}` : '';
  }

  #askForId() {
    this.#part('.note').textContent = t(this.name === 'tenant' ? 'connect.enter.tenant' : 'connect.enter.device');
  }

  /** @param {Status} status */
  #show(status) {
    clearInterval(this.#countdown);
    const { state, close } = status;
    this.#root.dataset.state = state;
    this.#part('.word').textContent = t(`state.${state}`);
    this.#part('.toggle').textContent = t(['closed', 'refused'].includes(state) ? 'connect.connect' : 'connect.disconnect');
    setHidden(this.#part('.now'), state !== 'waiting', this.#part('.toggle'));
    setHidden(this.#part('.ping'), state !== 'open', this.#part('.toggle'));
    if (state === 'open') this.#part('.tries').textContent = number(this.#opened += 1);
    if (close) this.#part('.close').textContent = explainClose(close);
    const note = state === 'refused' ? explainRefusal(close) : '';
    this.#part('.note').textContent = note;
    if (state === 'waiting') this.#countDown(status);
    this.#surroundings.say(t('connect.socket_says', { name: t(`socket.${/** @type {'legacy'} */ (this.name)}`), state: t(`state.${state}`), note }));
    this.dispatchEvent(new Event('state'));
  }

  /** @param {Status} status */
  #countDown({ nextTryAt, attempt }) {
    const tick = () => {
      const seconds = tenths.format(Math.max(0, nextTryAt - Date.now()) / 1000);
      this.#part('.note').textContent = t('connect.countdown', { seconds, attempt });
    };
    tick();
    this.#countdown = window.setInterval(tick, COUNTDOWN_EVERY_MS);
  }

  /** @param {string} selector */
  #part(selector) { return find(this.#root, selector, HTMLElement); }
}
