/**
 * The banner below the navigation: whether device data arrives and, if not, since when and why.
 *
 * Device data arrives while one of the sockets that carry it is open and Hermes is connected to the broker. During an
 * outage all values are stale. As long as the page has shown none, there is nothing to warn of.
 *
 * @typedef {object} Outage
 * @property {number} since  Unix ms
 * @property {string} reason
 */

import { byId, find, setText } from './dom.js';
import { formatTime } from './format-time.js';
import { formatNumber, t } from './i18n.js';

/** @typedef {import('../../hermes-client.js').HermesClient} HermesClient */
/** @typedef {import('../devices/devices-panel.js').DevicesPanel} DevicesPanel */

const DEVICE_SOCKETS = ['tenant', 'device', 'combined', 'tenants'];
const UPDATE_EVERY_MS = 1_000;
const RECOVERY_SHOWN_MS = 10_000; // long enough to notice it

export class StalenessBanner {
  #banner = byId('staleness-banner');
  #devices;
  #announce;
  /** @type {Map<string, Outage | null>} by socket, once it was open; null while it delivers data */
  #outages = new Map();
  /** @type {number | null} Unix ms */
  #recoveredAt = null;
  #recoveryShownUntil = 0;
  #headline = '';

  /**
   * @param {DevicesPanel} devices
   * @param {(text: string) => void} announce  report to screen readers
   */
  constructor(devices, announce) {
    this.#devices = devices;
    this.#announce = announce;
    setInterval(() => this.#update(), UPDATE_EVERY_MS);
  }

  /**
   * Follow the state of a client and of the MQTT connection it reports.
   * @param {HermesClient} client
   * @param {string} name  of the socket
   */
  observe(client, name) {
    if (!DEVICE_SOCKETS.includes(name)) return;
    client.on('state', ({ state }) => {
      if (state === 'open') this.#markUp(name, Date.now());
      else if (this.#outages.get(name) === null) this.#markDown(name, { since: Date.now(), reason: t('staleness.no_socket') });
    });
    client.on('link', ({ up, since }) => {
      if (up) this.#markUp(name, since ?? Date.now());
      else this.#markDown(name, { since: since ?? Date.now(), reason: t('staleness.no_link') });
    });
  }

  /** The latest outage if every socket has one, else null. */
  get #outage() {
    const [first, ...others] = this.#outages.values();
    return others.reduce((latest, each) => latest && each && (each.since > latest.since ? each : latest), first ?? null);
  }

  /**
   * Record that the socket delivers data.
   *
   * The banner follows at the next regular update only: a new socket assumes that the MQTT connection is up until the
   * first status frame, which comes a moment later.
   * @param {string} name
   * @param {number} since  Unix ms
   */
  #markUp(name, since) {
    if (this.#outage && this.#devices.size) {
      this.#recoveredAt = since;
      this.#recoveryShownUntil = Date.now() + RECOVERY_SHOWN_MS;
    }
    this.#outages.set(name, null);
  }

  /**
   * Record that the socket no longer delivers data.
   * @param {string} name
   * @param {Outage} outage
   */
  #markDown(name, outage) {
    this.#outages.set(name, outage);
    this.#update();
  }

  #update() {
    // At each update: a value may arrive after the frame that reports the MQTT outage.
    for (const [name, outage] of this.#outages) if (outage) this.#devices.markSourceLost(name);
    const { size, staleCount } = this.#devices;
    const outage = size ? this.#outage : null;
    if (Date.now() > this.#recoveryShownUntil && !staleCount) this.#recoveredAt = null;
    const note = !outage && staleCount ? t('staleness.pending', { n: formatNumber(staleCount), total: formatNumber(size) }) : '';
    this.#show(outage ? 'down' : note ? 'waiting' : 'up', outage ? outageText(outage) : recoveryText(this.#recoveredAt), note);
  }

  /**
   * @param {string} state  sets the colour of the light
   * @param {string} headline  announced to screen readers when it changes
   * @param {string} note  a count that changes often, so it is not announced
   */
  #show(state, headline, note) {
    const text = [headline, note].filter(Boolean).join(' ');
    this.#banner.hidden = !text;
    this.#banner.dataset.state = state;
    setText(find(this.#banner, '.text', HTMLElement), text);
    if (headline && headline !== this.#headline) this.#announce(text);
    this.#headline = headline;
  }
}

/** @param {Outage} outage */
function outageText({ since, reason }) { return t('staleness.stale', { time: formatTime(since), reason }); }

/** @param {number | null} since */
function recoveryText(since) { return since === null ? '' : t('staleness.recovered', { time: formatTime(since) }); }
