/** The truth at a glance: lamps, live charts, totals. Figures of the whole node need the operator's key. */

import { LineChart } from '../chart.js';
import { byId, find, make, setText } from '../element.js';
import { showLamp } from '../lamp.js';
import { maybe, t } from '../strings.js';
import { ageWords, clockWords } from '../time-words.js';
import { Rates } from './rates.js';
import { showTotals, sum } from './totals.js';

/**
 * @typedef {import('./node-watch.js').Finding} Finding
 * @typedef {import('../connect/socket-card.js').SocketCard} SocketCard
 */

const ROUTES = ['/ws/notifications', '/ws/tenant', '/ws/device', '/ws'];
const COLOURS = ['var(--series-1)', 'var(--series-2)', 'var(--series-3)', 'var(--series-4)'];

export class OverviewPanel {
  #cards;
  #say;
  #rates = new Rates();
  #charts;
  #shown = false;
  #word = { hermes: '', mqtt: '' };

  /**
   * @param {SocketCard[]} cards
   * @param {(text: string) => void} say  to screen readers
   */
  constructor(cards, say) {
    this.#cards = cards;
    this.#say = say;
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
    for (const card of cards) {
      card.addEventListener('state', () => this.#showSocket(card));
      this.#showSocket(card);
    }
  }

  show() {
    this.#shown = true;
    this.#paint();
  }

  hide() { this.#shown = false; }

  /** Once a second. @param {Finding} finding */
  take(finding) {
    this.#showGateway(finding);
    const now = Date.now();
    this.#charts.page.push(now, this.#cards.map((card) => this.#rates.rate(card.name, card.counts.received, now)));
    const { figures } = finding;
    if (figures) this.#takeFigures(figures, now);
    else for (const each of ['in', 'out', 'sockets', 'lost']) this.#charts[/** @type {'in'} */ (each)].push(now, [null, null, null, null]);
    byId('node-charts').hidden = byId('node-totals').hidden = !figures;
    const hint = byId('overview-hint');
    hint.hidden = Boolean(figures) || !finding.reachable;
    setText(find(hint, '.words', HTMLElement), t(finding.keyRefused ? 'overview.bad_key' : 'overview.need_key'));
    if (this.#shown && !document.hidden) this.#paint();
  }

  /**
   * @param {import('./node-watch.js').Figures} figures
   * @param {number} now
   */
  #takeFigures({ now: at, ...figures }, now) {
    const { mqtt, notify, delivery, sockets, process } = figures;
    const rate = (/** @type {string} */ name, /** @type {number} */ count) => this.#rates.rate(`node.${name}`, count, at);
    this.#charts.in.push(now, [rate('mqtt', mqtt.received), rate('notify', sum(notify.answers))]);
    this.#charts.out.push(now, [rate('out', delivery.deliveries)]);
    this.#charts.sockets.push(now, ROUTES.map((route) => sockets.open[route] ?? 0));
    this.#charts.lost.push(now, [
      rate('dropped', sum(mqtt.dropped)), rate('skipped', delivery.skipped), rate('refused', sum(sockets.refused)),
    ]);
    const cpu = rate('cpu', process.cpu_s);
    if (this.#shown) showTotals(byId('totals'), { now: at, ...figures }, cpu);
  }

  #paint() { for (const each of Object.values(this.#charts)) each.paint(); }

  /** @param {SocketCard} card */
  #showSocket(card) {
    const tile = find(document, `[data-tile=${card.name}]`, HTMLElement);
    tile.dataset.state = card.state;
    setText(find(tile, '.word', HTMLElement), stateWord(card.state));
  }

  /** @param {Finding} finding */
  #showGateway({ reachable, since, link, figures }) {
    const hermes = t(reachable ? 'lamp.reachable' : 'lamp.unreachable');
    const detail = reachable ? '' : sinceWords(since);
    const uptime = figures ? t('overview.up_for', { age: ageWords(figures.now - figures.started) }) : '';
    this.#tell('hermes', 'Hermes', hermes);
    showLamp(byId('hermes-lamp'), reachable ? 'up' : 'down', hermes, detail);
    showLamp(byId('tile-hermes'), reachable ? 'up' : 'down', hermes, detail || uptime);
    this.#showLink(reachable ? link.mqtt ?? 'unknown' : 'unknown', link, figures);
  }

  /**
   * @param {string} state
   * @param {import('./node-watch.js').Ready} link
   * @param {import('./node-watch.js').Figures | null} figures
   */
  #showLink(state, { since, missing }, figures) {
    const word = maybe(`lamp.${state}`) ?? state;
    const why = Array.isArray(missing) ? missing.join('; ') : '';
    const detail = [state === 'down' && since ? sinceWords(since) : '', why].filter(Boolean).join(': ');
    const broker = figures?.mqtt.broker;
    this.#tell('mqtt', 'MQTT', word);
    showLamp(byId('mqtt-lamp'), state, word, detail);
    showLamp(byId('tile-mqtt'), state, word, detail || (broker ? maybe(`overview.${broker}`) ?? '' : ''));
  }

  /**
   * @param {'hermes' | 'mqtt'} lamp
   * @param {string} name
   * @param {string} word
   */
  #tell(lamp, name, word) {
    if (this.#word[lamp] !== word) this.#say(`${name}: ${word}`);
    this.#word[lamp] = word;
  }
}

/**
 * @param {HTMLElement} root
 * @param {string} title
 * @param {string} unit
 * @param {string[]} labels
 */
function chart(root, title, unit, labels) {
  const card = make('section', { class: 'card' }, make('h3', {}, title));
  root.append(card);
  return new LineChart(card, { title, unit, series: labels.map((label, place) => ({ label, colour: COLOURS[place] })) });
}

/** @param {string} name */
function socketName(name) { return maybe(`socket.${name}`) ?? name; }

/** @param {string} state */
function stateWord(state) { return maybe(`state.${state}`) ?? state; }

/** @param {number} unixMs */
function sinceWords(unixMs) { return t('time.since', { time: clockWords(unixMs), age: ageWords(Date.now() - unixMs) }); }
