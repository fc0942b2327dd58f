/** The card of one of the sockets: id field, state, counts and round trip times. */

import { HermesClient } from '../../hermes-client.js';
import { explainClose, explainRefusal } from '../lib/close-codes.js';
import { find, setHidden, setText } from '../lib/dom.js';
import { onFieldChange } from '../lib/field-change.js';
import { formatNumber, formatTenths, t } from '../lib/i18n.js';
import { LineChart } from '../lib/line-chart.js';
import { devicePath } from '../lib/page-urls.js';
import { readEntry, storeEntry } from '../lib/storage.js';

/**
 * @typedef {import('../../hermes-client-types.js').Status} Status
 *
 * @typedef {object} Dependencies
 * @property {(reason: import('../../hermes-client-types.js').TokenReason) => Promise<string>} token
 * @property {import('../notifications/user-histories.js').UserHistories} histories
 * @property {(client: HermesClient, name: string) => void} attach  called for each new client
 * @property {(name: string, line: {kind: string, text: string}) => void} log
 * @property {(text: string) => void} announce  report to screen readers
 */

const COUNTDOWN_EVERY_MS = 100;
const CHART_SPAN_MS = 600_000; // 20 heartbeats
const CHART_HEIGHT = 90;
const NO_TRAFFIC = { received: 0, sent: 0, bytesIn: 0, bytesOut: 0 };

/** Emits `state` when the state of its client changes. */
export class SocketCard extends EventTarget {
  /** @type {HermesClient | null} */
  client = null;
  name;
  #root;
  #parent;
  #dependencies;
  #field;
  #openCount = 0;
  #refusedOrigin = ''; // the explanation of Hermes, which the note shows
  #previousCounts = NO_TRAFFIC;
  #countdownTimer = 0;
  #chart;

  /**
   * @param {HTMLFormElement} root
   * @param {Dependencies} dependencies
   */
  constructor(root, dependencies) {
    super();
    this.#root = root;
    this.#parent = root.parentElement;
    this.#dependencies = dependencies;
    this.name = root.dataset.socket ?? '';
    this.#field = root.querySelector('input');
    if (this.#field) this.#field.value = readEntry(this.#storageKey) ?? '';
    this.#chart = new LineChart(this.#part('.rtt-chart'), {
      title: t('connect.rtt_chart'), unit: 'ms', spanMs: CHART_SPAN_MS, height: CHART_HEIGHT,
      series: [{ label: t('connect.rtt'), colour: 'var(--series-1)' }],
    });
    if (this.#field) onFieldChange(this.#field, () => this.client && this.connect());
    this.#part('.now').addEventListener('click', () => this.client?.connect());
    this.#part('.ping').addEventListener('click', () => this.client?.ping());
    root.addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.active) return this.disconnect();
      this.connect();
      if (!this.client) this.#field?.focus(); // the id is missing
    });
  }

  /** Whether the token in use may open this socket; otherwise its card is not in the page. */
  get isOffered() { return this.#root.isConnected; }

  set isOffered(offered) {
    this.#root.hidden = false; // as the page has it at first
    if (offered && !this.isOffered) this.#parent?.append(this.#root);
    else if (!offered) {
      this.disconnect();
      this.#root.remove();
    }
    this.dispatchEvent(new Event('state'));
  }

  /** Whether the client is open or tries to be. */
  get active() { return Boolean(this.client) && this.client?.state !== 'refused'; }

  get state() { return this.client?.state ?? 'closed'; }

  /** The device or tenant id; stored for this tab once it was used. */
  get id() { return this.#field?.value.trim() ?? ''; }

  set id(id) { if (this.#field) this.#field.value = id; }

  get #storageKey() { return `hermes.id.${this.name}`; }

  connect() {
    this.disconnect();
    const path = this.#path();
    if (!path) return this.#promptForId();
    if (this.id) storeEntry(this.#storageKey, this.id);
    const { token, histories, log, attach } = this.#dependencies;
    const client = new HermesClient({
      url: path, getToken: token, history: histories.current, log: (line) => log(this.name, line),
    });
    this.client = client;
    client.on('state', (status) => this.#show(status));
    client.on('rtt', (ms) => this.#chart.push(Date.now(), [ms]));
    client.on('state', ({ state }) => { if (state === 'connecting') this.#chart.push(Date.now(), [null]); }); // ends the line
    client.on('rtt', (ms) => setText(this.#part('.rtt'), `${formatNumber(ms)} ms`));
    attach(client, this.name);
    client.connect();
  }

  disconnect() {
    const { client } = this;
    if (!client) return;
    client.close();
    this.#previousCounts = this.counts;
    this.client = null;
  }

  /** The traffic of all clients that this card has had. */
  get counts() {
    const { received, sent, bytesIn, bytesOut } = this.client?.counts ?? NO_TRAFFIC;
    const previous = this.#previousCounts;
    return {
      received: previous.received + received, sent: previous.sent + sent,
      bytesIn: previous.bytesIn + bytesIn, bytesOut: previous.bytesOut + bytesOut,
    };
  }

  /** Update the counts; called periodically, because hundreds of frames may come each second. */
  paint() {
    const { received, sent, bytesIn, bytesOut } = this.counts;
    setText(this.#part('.frames'), `${formatNumber(received)} / ${formatNumber(sent)}`);
    setText(this.#part('.bytes'), `${formatNumber(bytesIn)} / ${formatNumber(bytesOut)}`);
    this.#chart.paint();
  }

  #path() {
    if (this.name === 'combined') return 'ws';
    if (this.name === 'notifications') return 'ws/notifications';
    if (this.name === 'tenants') return 'ws/tenants';
    if (!this.id) return '';
    return this.name === 'device' ? devicePath(this.id) : `ws/${this.name}/${encodeURIComponent(this.id)}`;
  }

  #promptForId() {
    this.#part('.note').textContent = t(this.name === 'tenant' ? 'connect.enter.tenant' : 'connect.enter.device');
  }

  /** @param {Status} status */
  #show(status) {
    clearInterval(this.#countdownTimer);
    const { state, close } = status;
    this.#root.dataset.state = state;
    this.#part('.label').textContent = t(`state.${state}`);
    this.#part('.toggle').textContent = t(['closed', 'refused'].includes(state) ? 'connect.connect' : 'connect.disconnect');
    setHidden(this.#part('.now'), state !== 'waiting', this.#part('.toggle'));
    setHidden(this.#part('.ping'), state !== 'open', this.#part('.toggle'));
    if (state === 'open') this.#part('.tries').textContent = formatNumber(this.#openCount += 1);
    if (close) this.#part('.close').textContent = explainClose(close);
    const note = state === 'refused' ? explainRefusal(close) : '';
    this.#part('.note').textContent = note;
    if (state === 'waiting') this.#countDown(status);
    if (state === 'open') this.#refusedOrigin = '';
    if (state === 'waiting' && close?.code === 1006 && status.attempt === 1) this.#checkOrigin();
    this.#dependencies.announce(t('connect.socket_state', { name: t(`socket.${/** @type {'combined'} */ (this.name)}`), state: t(`state.${state}`), note }));
    this.dispatchEvent(new Event('state'));
  }

  /** Find out whether Hermes refuses this page, which the browser does not tell. */
  async #checkOrigin() {
    const { client } = this;
    const check = await import('../lib/origin-check.js').catch(() => null); // not reachable
    const reason = await check?.originRefusal(this.#path()) ?? '';
    if (client !== this.client || client?.state === 'open') return;
    this.#refusedOrigin = reason && t('connect.origin_refused', { reason });
    if (reason) this.#dependencies.announce(this.#refusedOrigin);
  }

  /** Show the seconds until the next attempt. @param {Status} status */
  #countDown({ nextTryAt, attempt }) {
    const update = () => {
      const seconds = formatTenths(Math.max(0, nextTryAt - Date.now()) / 1000);
      this.#part('.note').textContent = `${t('connect.countdown', { seconds, attempt })} ${this.#refusedOrigin}`.trim();
    };
    update();
    this.#countdownTimer = window.setInterval(update, COUNTDOWN_EVERY_MS);
  }

  /** @param {string} selector */
  #part(selector) { return find(this.#root, selector, HTMLElement); }
}
