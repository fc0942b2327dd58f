/** The drills panel: cause faults on purpose and check the outcome. */

import { byId, make, makeButton, setText } from '../lib/dom.js';
import { formatNumber, t } from '../lib/i18n.js';
import { readPageData } from '../lib/page-data.js';
import { DrillContext } from './drill-context.js';
import { closedClient } from './inbox-drill.js';
import { brokerOutage, burst, reconnectStorm, slowReader } from './node-drills.js';
import { expiry, latePong, refresh, socketEnd } from './socket-drills.js';

/**
 * @typedef {import('./drill-context.js').Outcome} Outcome
 *
 * @typedef {object} Drill
 * @property {'drop' | 'expiry' | 'refresh' | 'error' | 'restart' | 'pong' | 'frozen' | 'broker' | 'storm' | 'crowd' | 'burst' | 'inbox'} name
 * @property {'server' | 'key' | 'inbox' | 'page'} needs  `--dev` and a key that may do all; a key that may send; that and an
 *   inbox; only a token
 * @property {(context: DrillContext) => Promise<Outcome>} run
 *
 * @typedef {object} Dependencies
 * @property {import('../lib/credentials.js').Credentials} credentials
 * @property {import('../lib/permissions.js').Permissions} permissions
 * @property {import('../lib/dev-api.js').DevApi} devApi
 * @property {import('../lib/inbox-api.js').InboxApi} inboxApi
 * @property {() => string} userId  of the token in use
 */

/** @type {Drill[]} */
const DRILLS = [
  { name: 'drop', needs: 'server', run: socketEnd('drop', 1006) },
  { name: 'expiry', needs: 'server', run: expiry },
  { name: 'refresh', needs: 'server', run: refresh },
  { name: 'error', needs: 'server', run: socketEnd('internal_error', 1011) },
  { name: 'restart', needs: 'server', run: socketEnd('restart', 1001) },
  { name: 'pong', needs: 'server', run: latePong },
  { name: 'frozen', needs: 'server', run: slowReader },
  { name: 'broker', needs: 'server', run: brokerOutage },
  { name: 'storm', needs: 'server', run: reconnectStorm(true) },
  { name: 'crowd', needs: 'page', run: reconnectStorm(false) },
  { name: 'burst', needs: 'key', run: burst },
  { name: 'inbox', needs: 'inbox', run: closedClient },
];

export class DrillsPanel {
  #dependencies;
  #dev = Boolean(readPageData().dev);
  #busy = false;
  /** @type {Map<Drill, {card: HTMLElement, button: HTMLButtonElement, outcome: HTMLElement}>} */
  #cards = new Map();

  /** @param {Dependencies} dependencies */
  constructor(dependencies) {
    this.#dependencies = dependencies;
    byId('drills-list').append(...DRILLS.map((drill) => this.#card(drill)));
    byId('drills-all').addEventListener('click', () => this.#runAll());
    for (const each of [dependencies.credentials, dependencies.permissions]) each.addEventListener('change', () => this.#updateButtons());
    this.#updateButtons();
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
      make('p', {}, t(`drills.${name}.text`)), outcome, make('p', { class: 'buttons' }, button));
    this.#cards.set(drill, { card, button, outcome });
    return card;
  }

  /** Enable the drills that can run now and show why others cannot. */
  #updateButtons() {
    const runnable = DRILLS.filter((drill) => this.#isRunnable(drill));
    for (const [drill, { button }] of this.#cards) button.disabled = this.#busy || !runnable.includes(drill);
    /** @type {HTMLButtonElement} */ (byId('drills-all')).disabled = this.#busy || !runnable.length;
    const limits = byId('drills-limits');
    limits.hidden = runnable.length === DRILLS.length;
    const { facts, isUnrestricted } = this.#dependencies.permissions;
    const restricted = facts && !isUnrestricted && t('drills.limits.scope', { name: facts.name });
    const others = DRILLS.filter(({ needs }) => needs !== 'inbox');
    const onlyInbox = !readPageData().inbox && others.every((drill) => runnable.includes(drill));
    setText(limits, restricted || t(onlyInbox ? 'drills.limits.inbox' : this.#dev ? 'drills.limits.key' : 'drills.limits.production'));
  }

  /** @param {Drill} drill */
  #isRunnable({ needs }) {
    const { credentials: { token, apiKey }, permissions } = this.#dependencies;
    if (needs === 'server') return this.#dev && Boolean(apiKey) && permissions.isUnrestricted;
    if (needs === 'inbox' && !readPageData().inbox) return false;
    return Boolean(token) && (needs === 'page' || (Boolean(apiKey) && permissions.may('notify')));
  }

  async #runAll() {
    const drills = DRILLS.filter((drill) => this.#isRunnable(drill));
    let passed = 0;
    for (const drill of drills) passed += Number(await this.#run(drill));
    setText(byId('drills-score'), t('drills.score', { n: formatNumber(passed), total: formatNumber(drills.length) }));
  }

  /** Run one drill at a time, so that no other fault affects it; whether it passed. @param {Drill} drill */
  async #run(drill) {
    if (this.#busy) return false;
    const { card, outcome, button } = /** @type {{card: HTMLElement, outcome: HTMLElement, button: HTMLButtonElement}} */ (this.#cards.get(drill));
    const { credentials, devApi, inboxApi, userId } = this.#dependencies;
    const context = new DrillContext(devApi, inboxApi, this.#dev ? null : { token: credentials.token, userId: userId() });
    this.#busy = true;
    this.#updateButtons();
    card.dataset.verdict = 'running';
    outcome.replaceChildren(make('p', {}, t('drills.running')));
    const result = await drill.run(context).catch((error) => ({ passed: false, text: String(error.message ?? error), figures: [] }));
    this.#show(card, outcome, result);
    await context.closeClients();
    this.#busy = false;
    this.#updateButtons();
    if (document.activeElement === document.body) button.focus(); // it lost the focus when it was disabled
    return result.passed;
  }

  /**
   * @param {HTMLElement} card
   * @param {HTMLElement} outcome
   * @param {Outcome} result
   */
  #show(card, outcome, { passed, text, figures }) {
    const verdict = passed ? 'good' : 'bad';
    card.dataset.verdict = verdict;
    outcome.replaceChildren(
      make('span', { class: 'verdict', 'data-verdict': verdict }, t(passed ? 'drills.passed' : 'drills.failed')),
      make('p', {}, text),
      make('dl', {}, ...figures.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)])));
  }
}
