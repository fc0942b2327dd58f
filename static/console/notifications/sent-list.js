/** What the form has sent and Hermes has stored, with its receipts. In memory only: a reload forgets it. */

import { make, makeButton, setHidden, setText } from '../lib/dom.js';
import { formatTime } from '../lib/format-time.js';
import { t, tPlural } from '../lib/i18n.js';
import { ReceiptPoller } from './receipt-poller.js';

/** @typedef {import('./receipt-poller.js').Sent} Sent */

const SENT_MAX = 20;

export class SentList {
  root = make('section', { 'aria-labelledby': 'sent-heading', hidden: '' });
  #api;
  #permissions;
  #poller;
  #heading = make('h3', { id: 'sent-heading', tabindex: '-1' }, t('receipts.heading'));
  #list = make('ol', { class: 'sent' });
  #limits = make('p', { class: 'muted', role: 'status' });
  /** @type {Map<Sent, {item: HTMLElement, facts: HTMLElement, withdraw: HTMLButtonElement}>} newest last */
  #rows = new Map();

  /**
   * @param {import('../lib/inbox-api.js').InboxApi} api
   * @param {import('../lib/permissions.js').Permissions} permissions
   */
  constructor(api, permissions) {
    this.#api = api;
    this.#permissions = permissions;
    this.#poller = new ReceiptPoller(api, (sent) => this.#paint(sent));
    this.root.append(this.#heading, this.#limits, this.#list);
    permissions.addEventListener('change', () => this.#updatePermissions());
    this.#updatePermissions();
  }

  /** The ids of what was sent to this recipient, newest first. @param {string} recipient */
  idsTo(recipient) { return [...this.#rows.keys()].filter((sent) => sent.recipient === recipient).map(({ id }) => id).reverse(); }

  /** @param {Omit<Sent, 'receipt' | 'withdrawn' | 'problem'>} fields */
  add(fields) {
    /** @type {Sent} */
    const sent = { ...fields, receipt: null, withdrawn: false, problem: '' };
    const facts = make('small', {});
    const withdraw = makeButton(t('receipts.withdraw'), () => this.#withdraw(sent));
    withdraw.setAttribute('aria-label', t('receipts.withdraw_this', { title: sent.title }));
    const item = make('li', { 'data-id': sent.id }, make('div', {}, make('strong', {}, sent.title), ' ', make('code', {}, sent.id)), facts, withdraw);
    this.#rows.set(sent, { item, facts, withdraw });
    this.#list.prepend(item);
    this.root.hidden = false;
    this.#paint(sent);
    if (this.#permissions.may('receipts')) this.#poller.add(sent);
    for (const [oldest, row] of this.#rows) {
      if (this.#rows.size <= SENT_MAX) break;
      this.#poller.remove(oldest);
      this.#rows.delete(oldest);
      row.item.remove();
    }
  }

  show() { this.#poller.start(); }

  hide() { this.#poller.stop(); }

  /** @param {Sent} sent */
  async #withdraw(sent) {
    if (!this.#permissions.may('notify')) return;
    try {
      sent.withdrawn = (await this.#api.withdraw(sent)).withdrawn;
      sent.problem = sent.withdrawn ? '' : t('receipts.gone');
      if (this.#permissions.may('receipts')) this.#poller.add(sent, 0);
    } catch (error) {
      sent.problem = error instanceof Error ? error.message : String(error);
    }
    this.#paint(sent);
  }

  /** @param {Sent} sent */
  #paint(sent) {
    const row = this.#rows.get(sent);
    if (!row) return;
    const { receipt, problem, kind, recipient, at } = sent;
    const withdrawn = sent.withdrawn || receipt?.withdrawn;
    const facts = [
      t(`receipts.to.${kind}`, { id: recipient }), formatTime(at), ...(receipt ? this.#factsOf(sent, receipt) : []),
      withdrawn && t('receipts.withdrawn'), problem,
    ];
    setText(row.facts, facts.filter(Boolean).join(' · '));
    row.item.dataset.state = withdrawn ? 'withdrawn' : receipt?.acked_at ? 'acked' : 'open';
    setHidden(row.withdraw, Boolean(withdrawn || (receipt && receipt.expires <= Date.now())), this.#heading);
  }

  /** @param {Sent} sent @param {import('./receipt-poller.js').Receipt} receipt */
  #factsOf({ kind }, { seq, sockets, acked_at: ackedAt, expires }) {
    const acked = ackedAt ? t('receipts.acked', { time: formatTime(ackedAt) }) : t('receipts.not_acked');
    const end = expires <= Date.now() ? 'receipts.expired' : 'receipts.expires';
    return [t('receipts.stored', { n: seq }), tPlural('receipts.sockets', sockets), kind === 'user_id' && acked, t(end, { time: formatTime(expires) })];
  }

  /** Say what the key may not do; the buttons keep the focus that they may have. */
  #updatePermissions() {
    const { facts } = this.#permissions;
    setText(this.#limits, this.#permissions.may('receipts') ? '' : t('receipts.no_scope', { name: facts?.name ?? '' }));
    for (const { withdraw } of this.#rows.values()) withdraw.setAttribute('aria-disabled', String(!this.#permissions.may('notify')));
  }
}
