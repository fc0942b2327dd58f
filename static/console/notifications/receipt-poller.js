/**
 * Ask for the receipts of what was sent, as long as they can change.
 *
 * One request at a time. Each notification is asked for ever more rarely, and not at all once it was acknowledged or
 * withdrawn, has expired, or after ten minutes. Nothing is asked while the page or the panel is hidden.
 *
 * @typedef {import('../lib/inbox-api.js').Receipt} Receipt
 *
 * @typedef {object} Sent  a notification that was stored
 * @property {string} id
 * @property {'user_id' | 'tenant_id'} kind
 * @property {string} recipient
 * @property {string} title
 * @property {number} at  Unix ms
 * @property {Receipt | null} receipt  null until the first answer
 * @property {boolean} withdrawn  by this page
 * @property {string} problem  why there is no newer receipt; empty if there is none
 */

import { RequestFault } from '../lib/inbox-api.js';

const LOOK_EVERY_MS = 1_000;
const FIRST_WAIT_MS = 1_000;
const WAIT_FACTOR = 1.5;
const WAIT_MAX_MS = 30_000;
const GIVE_UP_AFTER_MS = 600_000;

export class ReceiptPoller {
  #api;
  #onChange;
  /** @type {Map<Sent, {at: number, waitMs: number, until: number}>} when to ask next, by performance.now() */
  #plans = new Map();
  #timer = 0;

  /**
   * @param {import('../lib/inbox-api.js').InboxApi} api
   * @param {(sent: Sent) => void} onChange
   */
  constructor(api, onChange) {
    this.#api = api;
    this.#onChange = onChange;
  }

  /** Ask for its receipt from now on. @param {Sent} sent @param {number} [inMs] */
  add(sent, inMs = FIRST_WAIT_MS) {
    const now = performance.now();
    this.#plans.set(sent, { at: now + inMs, waitMs: FIRST_WAIT_MS, until: now + GIVE_UP_AFTER_MS });
  }

  /** @param {Sent} sent */
  remove(sent) { this.#plans.delete(sent); }

  start() {
    this.stop();
    const look = async () => {
      if (!document.hidden) await this.#askDue();
      if (this.#timer === own) own = this.#timer = window.setTimeout(look, LOOK_EVERY_MS);
    };
    let own = this.#timer = window.setTimeout(look, 0);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  async #askDue() {
    for (const [sent, plan] of [...this.#plans]) {
      if (this.#timer && plan.at <= performance.now()) await this.#ask(sent, plan);
    }
  }

  /** @param {Sent} sent @param {{at: number, waitMs: number, until: number}} plan */
  async #ask(sent, plan) {
    try {
      sent.receipt = await this.#api.receipt(sent);
      sent.problem = '';
      if (isFinal(sent)) this.#plans.delete(sent);
    } catch (error) {
      const hasEnded = error instanceof RequestFault && error.status === 404 && sent.receipt && sent.receipt.expires <= Date.now();
      sent.problem = hasEnded ? '' : error instanceof Error ? error.message : String(error);
      if (error instanceof RequestFault && error.status < 500 && error.status !== 429) this.#plans.delete(sent); // the next answer would be the same
    }
    plan.waitMs = Math.min(WAIT_MAX_MS, plan.waitMs * WAIT_FACTOR);
    plan.at = performance.now() + plan.waitMs;
    if (plan.at > plan.until) this.#plans.delete(sent);
    this.#onChange(sent);
  }
}

/** Whether the receipt cannot change any more. The acknowledgements of a broadcast are not counted. @param {Sent} sent */
function isFinal({ kind, receipt }) {
  return receipt !== null && (kind === 'tenant_id' || receipt.acked_at !== null || receipt.withdrawn || receipt.expires <= Date.now());
}
