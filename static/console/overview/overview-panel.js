/** The overview panel: status lights, live charts, totals. Figures of this Hermes need the API key. */

import { byId, find, make, setText } from '../lib/dom.js';
import { formatDuration, formatTime } from '../lib/format-time.js';
import { loadStrings, t, tOptional } from '../lib/i18n.js';
import { LineChart } from '../lib/line-chart.js';
import { OnDemand } from '../lib/on-demand.js';
import { readPageData } from '../lib/page-data.js';
import { showStatusLight } from '../lib/status-light.js';
import { CounterRates } from './counter-rates.js';
import { renderTotals, sum } from './totals.js';

/**
 * @typedef {import('./status-poller.js').NodeStatus} NodeStatus
 * @typedef {import('../connect/socket-card.js').SocketCard} SocketCard
 */

const ALL_TENANTS = '/ws/tenants'; // for superusers: shown once it is used
const ROUTES = ['/ws/notifications', '/ws/tenant', '/ws/device', '/ws', ALL_TENANTS];
const NODE_CHARTS = /** @type {const} */ (['in', 'out', 'sockets', 'lost']);
const OF_HERMES = /^(inbox|keys_unavailable|clock|cluster|joining): /; // what is missing and has nothing to do with MQTT
const COLOURS = ['var(--series-1)', 'var(--series-2)', 'var(--series-3)', 'var(--series-4)', 'var(--series-5)'];

export class OverviewPanel {
  #cards;
  #tiles;
  #announce;
  #permissions;
  #rates = new CounterRates();
  #charts;
  #shown = false;
  #announced = { hermes: '', mqtt: '' };
  /** @type {OnDemand<import('./store-health.js').StoreHealth> | null} null without an inbox */
  #store = null;
  /** @type {OnDemand<import('./node-list.js').NodeList> | null} null with one node */
  #nodes = null;
  #shownNode = '';

  /**
   * @param {SocketCard[]} cards
   * @param {import('../lib/credentials.js').Credentials} credentials
   * @param {import('../lib/permissions.js').Permissions} permissions
   * @param {(text: string) => void} announce  report to screen readers
   */
  constructor(cards, credentials, permissions, announce) {
    this.#cards = cards;
    this.#permissions = permissions;
    this.#tiles = new Map(cards.map(({ name }) => [name, find(document, `[data-tile=${name}]`, HTMLElement)]));
    this.#announce = announce;
    const node = byId('node-charts');
    const perSecond = t('overview.per_second');
    this.#charts = {
      in: chart(node, t('overview.chart.in'), perSecond, [t('overview.mqtt'), t('overview.notify')]),
      out: chart(node, t('overview.chart.out'), perSecond, [t('overview.deliveries')]),
      sockets: chart(node, t('overview.chart.sockets'), '', ROUTES),
      lost: chart(node, t('overview.chart.lost'), perSecond,
        [t('overview.dropped'), t('overview.skipped'), t('overview.refused')]),
      page: chart(byId('page-charts'), t('overview.chart.page'), perSecond, cards.map(({ name }) => socketName(name))),
    };
    if (readPageData().inbox) this.#offerStore(credentials);
    for (const card of cards) {
      card.addEventListener('state', () => this.#showSocket(card));
      this.#showSocket(card);
    }
  }

  /** Load the figures of the inbox when they come into view. @param {import('../lib/credentials.js').Credentials} credentials */
  #offerStore(credentials) {
    const root = byId('node-inbox');
    const store = this.#store = new OnDemand(root, async () => {
      const [{ StoreHealth }, { InboxApi }] = await Promise.all([import('./store-health.js'), import('../lib/inbox-api.js'), loadStrings()]);
      return new StoreHealth(root, { api: new InboxApi(credentials), credentials, permissions: this.#permissions });
    });
    new IntersectionObserver((looks) => (looks[looks.length - 1].isIntersecting ? store.show('', '') : store.hide())).observe(root);
  }

  show() {
    this.#shown = true;
    this.#paint();
  }

  hide() { this.#shown = false; }

  /** Show the latest state; called once a second. @param {NodeStatus} status */
  update(status) {
    this.#showGateway(status);
    this.#showStore(status);
    const now = Date.now();
    this.#charts.page.push(now, this.#cards.map((card) => this.#frameRate(card, now)));
    const figures = this.#ofChosenNode(status.figures);
    if (figures) this.#pushFigures(figures, now);
    else for (const each of NODE_CHARTS) this.#charts[each].push(now, ROUTES.map(() => null));
    byId('node-charts').hidden = !status.figures;
    byId('node-totals').hidden = !figures;
    const hint = byId('overview-hint');
    hint.hidden = Boolean(status.figures) || !status.reachable;
    setText(find(hint, '.text', HTMLElement), this.#keyHint);
    if (this.#shown && !document.hidden) this.#paint();
  }

  /** Show the nodes if there are several; return the figures of the chosen one. @param {NodeStatus['figures']} figures */
  #ofChosenNode(figures) {
    if (!figures?.cluster) {
      this.#nodes?.hide();
      return figures;
    }
    const nodes = this.#nodes ??= this.#offerNodes();
    if (!nodes.part) {
      nodes.show('', '');
      return figures;
    }
    const chosen = nodes.part.update(figures);
    if (this.#shownNode !== nodes.part.chosen) for (const each of NODE_CHARTS) this.#charts[each].clear();
    this.#shownNode = nodes.part.chosen;
    return chosen;
  }

  #offerNodes() {
    const root = make('section', { id: 'nodes' });
    byId('overview-hint').after(root);
    return new OnDemand(root, async () => {
      const [{ NodeList }] = await Promise.all([import('./node-list.js'), loadStrings()]);
      return new NodeList(root, this.#announce);
    }, new URL('node-list.css', import.meta.url).href);
  }

  /** Why there are no figures. */
  get #keyHint() {
    if (this.#permissions.isRejected) return t('overview.bad_key');
    const { facts } = this.#permissions;
    return facts ? t('overview.no_scope', { name: facts.name }) : t('overview.need_key');
  }

  /** Frames per second; null, which breaks the line, while the socket is not open. @param {SocketCard} card @param {number} now */
  #frameRate(card, now) {
    const rate = this.#rates.rate(card.name, card.counts.received, now);
    return card.state === 'open' ? rate : null;
  }

  /**
   * @param {import('./status-poller.js').Figures} figures
   * @param {number} now
   */
  #pushFigures({ now: at, ...figures }, now) {
    const { mqtt, notify, delivery, sockets, process } = figures;
    const rate = (/** @type {string} */ name, /** @type {number} */ count) => this.#rates.rate(`node.${this.#shownNode}.${name}`, count, at);
    this.#charts.in.push(now, [rate('mqtt', mqtt.received), rate('notify', sum(notify.answers))]);
    this.#charts.out.push(now, [rate('out', delivery.deliveries)]);
    this.#charts.sockets.push(now, ROUTES.map((route) => sockets.open[route] ?? (route === ALL_TENANTS ? null : 0)));
    this.#charts.lost.push(now, [
      rate('dropped', sum(mqtt.dropped)), rate('skipped', delivery.skipped), rate('refused', sum(sockets.refused) + (sockets.origins_refused ?? 0)),
    ]);
    const cpu = rate('cpu', process.cpu_s);
    if (this.#shown) renderTotals(byId('totals'), { now: at, ...figures }, cpu);
  }

  #paint() { for (const each of Object.values(this.#charts)) each.paint(); }

  /** @param {SocketCard} card */
  #showSocket(card) {
    const tile = /** @type {HTMLElement} */ (this.#tiles.get(card.name));
    tile.hidden = false;
    if (!card.isOffered) tile.remove();
    else if (!tile.isConnected) find(document, '.tiles', HTMLElement).append(tile);
    tile.dataset.state = card.state;
    setText(find(tile, '.label', HTMLElement), stateLabel(card.state));
  }

  /** @param {NodeStatus} status */
  #showGateway({ reachable, since, link, figures, missing }) {
    const hermes = t(reachable ? 'status.reachable' : 'status.unreachable');
    const problems = missing?.filter((each) => OF_HERMES.test(each)) ?? [];
    const detail = reachable ? problems.join('; ') : sinceText(since);
    const state = !reachable ? 'down' : problems.length ? 'waiting' : 'up';
    const uptime = figures ? t('overview.up_for', { age: formatDuration(figures.now - figures.started) }) : '';
    this.#announceChange('hermes', 'Hermes', [hermes, ...problems].join(': '));
    showStatusLight(byId('hermes-status-light'), state, hermes, detail);
    showStatusLight(byId('tile-hermes'), state, hermes, detail || uptime);
    this.#showLink(reachable ? link.mqtt ?? 'unknown' : 'unknown', link, figures);
  }

  /** @param {NodeStatus} status */
  #showStore({ missing }) {
    if (!this.#store) return;
    const prefix = 'inbox: ';
    const problem = missing?.find((each) => each.startsWith(prefix))?.slice(prefix.length) ?? '';
    const state = !missing ? 'unknown' : problem ? 'down' : 'up';
    showStatusLight(byId('tile-inbox'), state, t(`status.${state}`), problem);
    byId('node-inbox').hidden = false; // from now on below the charts
    if (this.#store.part) this.#store.part.problem = missing && problem;
  }

  /**
   * @param {string} state
   * @param {import('./status-poller.js').Ready} link
   * @param {import('./status-poller.js').Figures | null} figures
   */
  #showLink(state, { since, missing }, figures) {
    const label = tOptional(`status.${state}`) ?? state;
    const reason = missing?.filter((each) => !OF_HERMES.test(each)).join('; ') ?? '';
    const detail = [state === 'down' && since ? sinceText(since) : '', reason].filter(Boolean).join(': ');
    const broker = figures?.mqtt.broker;
    this.#announceChange('mqtt', 'MQTT', label);
    showStatusLight(byId('mqtt-status-light'), state, label, detail);
    showStatusLight(byId('tile-mqtt'), state, label, detail || (broker ? tOptional(`overview.${broker}`) ?? '' : ''));
  }

  /**
   * Report a changed state to screen readers.
   * @param {'hermes' | 'mqtt'} light
   * @param {string} name
   * @param {string} label
   */
  #announceChange(light, name, label) {
    if (this.#announced[light] !== label) this.#announce(`${name}: ${label}`);
    this.#announced[light] = label;
  }
}

/**
 * Create a card with a chart.
 * @param {HTMLElement} root
 * @param {string} title
 * @param {string} unit
 * @param {string[]} labels
 */
function chart(root, title, unit, labels) {
  const card = make('section', { class: 'card' }, make('h3', {}, title));
  root.append(card);
  return new LineChart(card, { title, unit, series: labels.map((label, index) => ({ label, colour: COLOURS[index], optional: [ALL_TENANTS, socketName('tenants')].includes(label) })) });
}

/** @param {string} name */
function socketName(name) { return tOptional(`socket.${name}`) ?? name; }

/** @param {string} state */
function stateLabel(state) { return tOptional(`state.${state}`) ?? state; }

/** @param {number} unixMs */
function sinceText(unixMs) { return t('time.since', { time: formatTime(unixMs), age: formatDuration(Date.now() - unixMs) }); }
