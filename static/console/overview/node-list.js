/** The nodes of the site: a table, and a status light for all of them. Loaded when there are several nodes. */

import { byId, find, make, setText } from '../lib/dom.js';
import { formatDuration } from '../lib/format-time.js';
import { formatNumber, t, tOptional } from '../lib/i18n.js';
import { showStatusLight } from '../lib/status-light.js';
import { hasProblem, isGone, NodeRows } from './node-rows.js';
import { GROUPS } from './status-poller.js';

/**
 * @typedef {import('./node-rows.js').NodeRow} NodeRow
 * @typedef {import('./status-poller.js').Figures} Figures
 */

const NAMED_MAX = 3; // nodes with a problem beside the status light; the table has all
const DOWN = ['silent', 'lost', 'alone'];
const OF_NODES = /^(?:cluster|joining): /; // the words before what is missing

export class NodeList {
  #root;
  #announce;
  #rows = new NodeRows();
  #body = make('tbody', { role: 'rowgroup' });
  #choice = make('select');
  #tile = makeTile();
  /** @type {Map<string, HTMLTableRowElement>} */
  #elements = new Map();
  #announced = '';
  /** The node of the charts and totals. */
  chosen = '';

  /**
   * @param {HTMLElement} root
   * @param {(text: string) => void} announce  report to screen readers
   */
  constructor(root, announce) {
    this.#root = root;
    this.#announce = announce;
    root.className = 'card';
    root.setAttribute('aria-labelledby', 'nodes-title');
    const heads = [t('nodes.node'), t('nodes.state'), t('nodes.users'), t('nodes.sockets'), t('nodes.version'), t('nodes.problems')];
    const table = make('table', { class: 'nodes', role: 'table', 'aria-labelledby': 'nodes-title' }, // its styles would remove the roles
      make('thead', { role: 'rowgroup' }, make('tr', { role: 'row' }, ...heads.map((text) => make('th', { scope: 'col', role: 'columnheader' }, text)))), this.#body);
    root.append(make('h3', { id: 'nodes-title' }, t('nodes.title')), table, make('label', {}, t('nodes.choice'), this.#choice));
    (document.getElementById('tile-inbox') ?? byId('tile-mqtt')).after(this.#tile);
    this.#choice.addEventListener('change', () => { this.chosen = this.#choice.value; });
  }

  /** Nothing is known of the nodes. */
  hide() {
    this.#root.hidden = true;
    showStatusLight(this.#tile, 'unknown', t('status.unknown'), '');
  }

  /**
   * Show an answer of `GET /status`; return the figures of the chosen node, null if it did not answer.
   * @param {Figures} figures
   */
  update(figures) {
    this.#root.hidden = false;
    this.#rows.add(figures, Date.now());
    const { rows } = this.#rows;
    const living = rows.filter((row) => !isGone(row)).map(({ name }) => name);
    if (!living.includes(this.chosen)) this.chosen = figures.cluster.node;
    this.#showChoice(living);
    this.#showRows(rows, figures.now);
    this.#showTile(rows, figures.cluster.state);
    const chosen = this.#rows.get(this.chosen)?.figures;
    return chosen && GROUPS.every((group) => chosen[group]) ? chosen : null;
  }

  /** @param {string[]} names */
  #showChoice(names) {
    if ([...this.#choice.options].map(({ value }) => value).join() !== names.join()) {
      this.#choice.replaceChildren(...names.map((name) => make('option', {}, name)));
    }
    if (this.#choice.value !== this.chosen) this.#choice.value = this.chosen;
  }

  /**
   * @param {NodeRow[]} rows
   * @param {number} now  Unix ms, by the clock of the node that answered
   */
  #showRows(rows, now) {
    const elements = rows.map((row) => {
      const element = this.#elements.get(row.name) ?? makeRow(row.name);
      this.#elements.set(row.name, element);
      fillRow(element, row, now);
      return element;
    });
    for (const name of this.#elements.keys()) if (!this.#rows.get(name)) this.#elements.delete(name);
    const shown = [...this.#body.children];
    if (shown.length !== elements.length || elements.some((each, index) => each !== shown[index])) this.#body.replaceChildren(...elements);
  }

  /**
   * @param {NodeRow[]} rows
   * @param {string} own  the state of the node that answered
   */
  #showTile(rows, own) {
    const members = rows.filter(({ state }) => state !== 'left');
    const joined = members.filter(({ state }) => state === 'joined').length;
    const bad = members.filter(hasProblem);
    const names = bad.slice(0, NAMED_MAX).map((row) => `${row.name}: ${row.state === 'joined' ? problems(row)[0] : stateLabel(row)}`);
    if (bad.length > NAMED_MAX) names.push('…');
    const label = t('nodes.count', { n: formatNumber(joined), all: formatNumber(members.length) });
    const detail = names.join('; ');
    showStatusLight(this.#tile, own === 'alone' ? 'down' : bad.length ? 'waiting' : 'up', label, detail);
    const text = `${t('nodes.title')}: ${[label, ...names].join('; ')}`;
    if (this.#announced !== text) this.#announce(text);
    this.#announced = text;
  }
}

function makeTile() {
  return make('li', { class: 'card tile', id: 'tile-nodes' }, make('h3', {}, t('nodes.title')),
    make('p', { class: 'state' }, ...lightAndLabel()), make('p', { class: 'muted detail' }));
}

function lightAndLabel() { return [make('span', { class: 'light', 'aria-hidden': 'true' }), make('b', { class: 'label' })]; }

/** @param {string} name */
function makeRow(name) {
  const cell = (/** @type {string} */ kind, /** @type {string} */ label = '') => make('td', { role: 'cell', class: kind, 'data-label': label });
  const state = cell('node-state');
  state.append(...lightAndLabel(), ' ', make('span', { class: 'detail' }));
  const badge = make('span', { class: 'badge', hidden: '' }, t('nodes.answers'));
  return make('tr', { role: 'row', 'data-node': name }, make('th', { scope: 'row', role: 'rowheader' }, `${name} `, badge), state,
    cell('users', t('nodes.users')), cell('sockets', t('nodes.sockets')), cell('version', t('nodes.version')), cell('problems', ''));
}

/**
 * @param {HTMLElement} element
 * @param {NodeRow} row
 * @param {number} now
 */
function fillRow(element, row, now) {
  const { state, version, users, sockets, heard, answers } = row;
  const light = DOWN.includes(state) ? 'down' : state === 'left' || state === 'unknown' ? 'unknown' : hasProblem(row) ? 'waiting' : 'up';
  const age = heard === null ? '' : t(state === 'left' ? 'nodes.left_at' : 'nodes.heard', { age: formatDuration(now - heard) });
  showStatusLight(find(element, '.node-state', HTMLElement), light, stateLabel(row), age);
  find(element, '.badge', HTMLElement).hidden = !answers;
  for (const [kind, value] of Object.entries({ users, sockets })) setText(find(element, `.${kind}`, HTMLElement), value === null ? '–' : formatNumber(value));
  setText(find(element, '.version', HTMLElement), version || '–');
  setText(find(element, '.problems', HTMLElement), problems(row).join('; '));
}

/** @param {NodeRow} row */
function stateLabel({ state }) { return tOptional(`nodes.state.${state}`) ?? state; }

/** @param {NodeRow} row */
function problems({ differences, missing }) {
  return [...differences.map((each) => tOptional(`nodes.${each}`) ?? each), ...missing.map((each) => each.replace(OF_NODES, ''))];
}
