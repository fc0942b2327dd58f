/** Faults on purpose, each with its verdict. */

import { readBoot } from '../boot.js';
import { byId, make, makeButton, setText } from '../element.js';
import { number, t } from '../strings.js';
import { broker, burst, frozenReader, storm } from './node-drills.js';
import { ending, expiry, latePong, refresh } from './socket-drills.js';
import { Workshop } from './workshop.js';

/**
 * @typedef {import('./workshop.js').Outcome} Outcome
 *
 * @typedef {object} Drill
 * @property {'drop' | 'expiry' | 'refresh' | 'error' | 'restart' | 'pong' | 'frozen' | 'broker' | 'storm' | 'crowd' | 'burst'} name
 * @property {'server' | 'key' | 'page'} needs  a fault of the server's, `--dev` only; the operator's key; nothing but a token
 * @property {(shop: Workshop) => Promise<Outcome>} run
 *
 * @typedef {object} Surroundings
 * @property {import('../credentials.js').Credentials} credentials
 * @property {import('../dev-doors.js').DevDoors} doors
 * @property {() => string} userId  the page's own token's
 * @property {(text: string) => void} say
 */

/** @type {Drill[]} */
const DRILLS = [
  { name: 'drop', needs: 'server', run: ending('drop', 1006) },
  { name: 'expiry', needs: 'server', run: expiry },
  { name: 'refresh', needs: 'server', run: refresh },
  { name: 'error', needs: 'server', run: ending('internal_error', 1011) },
  { name: 'restart', needs: 'server', run: ending('restart', 1001) },
  { name: 'pong', needs: 'server', run: latePong },
  { name: 'frozen', needs: 'server', run: frozenReader },
  { name: 'broker', needs: 'server', run: broker },
  { name: 'storm', needs: 'server', run: storm(true) },
  { name: 'crowd', needs: 'page', run: storm(false) },
  { name: 'burst', needs: 'key', run: burst },
];

export class DrillsPanel {
  #surroundings;
  #dev = Boolean(readBoot().dev);
  #busy = false;
  /** @type {Map<Drill, {card: HTMLElement, button: HTMLButtonElement, outcome: HTMLElement}>} */
  #parts = new Map();

  /** @param {Surroundings} surroundings */
  constructor(surroundings) {
    this.#surroundings = surroundings;
    byId('drills-list').append(...DRILLS.map((drill) => this.#card(drill)));
    byId('drills-all').addEventListener('click', () => this.#runAll());
    surroundings.credentials.addEventListener('change', () => this.#allow());
    this.#allow();
  }

  /** @param {Drill} drill */
  #card(drill) {
    const { name, needs } = drill;
    const side = needs === 'server' ? 'server' : 'page';
    const button = makeButton(t('drills.run'), () => this.#run(drill));
    button.setAttribute('aria-label', t('drills.run_this', { name: t(`drills.${name}`) }));
    const outcome = make('div', { class: 'outcome', role: 'status' });
    const card = make('li', { class: 'card drill', 'data-drill': name },
      make('h3', {}, t(`drills.${name}`), make('span', { class: 'badge', 'data-side': side }, t(`drills.side.${side}`))),
      make('p', {}, t(`drills.${name}.words`)), outcome, make('p', { class: 'buttons' }, button));
    this.#parts.set(drill, { card, button, outcome });
    return card;
  }

  /** Which of them may be run now, and what keeps the others from it. */
  #allow() {
    const runnable = DRILLS.filter((drill) => this.#mayRun(drill));
    for (const [drill, { button }] of this.#parts) button.disabled = this.#busy || !runnable.includes(drill);
    /** @type {HTMLButtonElement} */ (byId('drills-all')).disabled = this.#busy || !runnable.length;
    const limits = byId('drills-limits');
    limits.hidden = runnable.length === DRILLS.length;
    setText(limits, t(this.#dev ? 'drills.limits.key' : 'drills.limits.production'));
  }

  /** @param {Drill} drill */
  #mayRun({ needs }) {
    const { token, apiKey } = this.#surroundings.credentials;
    if (needs === 'server') return this.#dev && Boolean(apiKey);
    return Boolean(token) && (needs === 'page' || Boolean(apiKey));
  }

  async #runAll() {
    const drills = DRILLS.filter((drill) => this.#mayRun(drill));
    let passed = 0;
    for (const drill of drills) passed += Number(await this.#run(drill));
    setText(byId('drills-score'), t('drills.score', { n: number(passed), total: number(drills.length) }));
  }

  /** One at a time, or one would be judged by another's fault; whether it passed. @param {Drill} drill */
  async #run(drill) {
    if (this.#busy) return false;
    const { card, outcome, button } = /** @type {{card: HTMLElement, outcome: HTMLElement, button: HTMLButtonElement}} */ (this.#parts.get(drill));
    const { credentials, doors, userId } = this.#surroundings;
    const shop = new Workshop(doors, this.#dev ? null : { token: credentials.token, userId: userId() });
    this.#busy = true;
    this.#allow();
    card.dataset.verdict = 'running';
    outcome.replaceChildren(make('p', {}, t('drills.running')));
    const found = await drill.run(shop).catch((error) => ({ passed: false, words: String(error.message ?? error), figures: [] }));
    shop.clear();
    this.#busy = false;
    this.#allow();
    if (document.activeElement === document.body) button.focus(); // which lost it as it was disabled
    this.#show(card, outcome, found);
    return found.passed;
  }

  /**
   * @param {HTMLElement} card
   * @param {HTMLElement} outcome
   * @param {Outcome} found
   */
  #show(card, outcome, { passed, words, figures }) {
    const verdict = passed ? 'good' : 'bad';
    card.dataset.verdict = verdict;
    outcome.replaceChildren(
      make('span', { class: 'verdict', 'data-verdict': verdict }, t(passed ? 'drills.passed' : 'drills.failed')),
      make('p', {}, words),
      make('dl', {}, ...figures.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)])));
  }
}
