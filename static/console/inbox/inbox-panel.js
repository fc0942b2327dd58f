/** The inbox panel: what Hermes has stored for the user of the token. Loaded when it is first shown. */

import { byId, make, makeButton, setText } from '../lib/dom.js';
import { formatNumber, t, tPlural } from '../lib/i18n.js';
import { RequestFault } from '../lib/inbox-api.js';
import { readPageData } from '../lib/page-data.js';
import { InboxRows } from './inbox-rows.js';
import { InboxList } from './inbox-list.js';

const PAGE_ROWS = 100;
const READ_EVERY_MS = 5_000; // while the panel is shown and its last row is
const RETRY_MAX_MS = 60_000;

export class InboxPanel {
  #api;
  #credentials;
  #token = '';
  #rows = new InboxRows();
  #shown = false;
  #timer = 0;
  #failures = 0;
  #isRefused = false; // until the token changes
  /** @type {Promise<void> | null} one request at a time */
  #reading = null;
  #list = new InboxList((id) => this.#acknowledge({ notification_id: id }));
  #ackAll = makeButton(t('inbox.ack_all'), () => this.#acknowledge({ upto: this.#rows.last, epoch: this.#rows.epoch }));
  #next = makeButton(t('inbox.next', { n: formatNumber(PAGE_ROWS) }), () => this.#readNow());
  #refresh = makeButton(t('inbox.again'), () => this.#startAgain());
  #summary = make('span', { class: 'muted', role: 'status' });
  #gap = make('p', { class: 'warn', role: 'status', hidden: '' }, t('inbox.gap'));
  #dropped = make('p', { class: 'muted', hidden: '' });
  #empty = make('p', { class: 'empty', hidden: '' });
  #fault = make('p', { class: 'bad', role: 'status' });

  /**
   * @param {import('../lib/inbox-api.js').InboxApi} api
   * @param {import('../lib/credentials.js').Credentials} credentials
   */
  constructor(api, credentials) {
    this.#api = api;
    this.#credentials = credentials;
    if (!readPageData().inbox) byId('inbox').append(make('p', { class: 'card empty' }, t('inbox.absent')));
    else this.#build();
  }

  #build() {
    byId('inbox').append(make('div', { class: 'card' },
      make('p', { class: 'muted' }, t('inbox.intro')), make('p', { class: 'buttons' }, this.#ackAll, this.#refresh, this.#summary),
      this.#fault, this.#gap, this.#dropped, this.#empty, this.#list.root, make('p', { class: 'buttons' }, this.#next)));
    this.#paint();
    this.#credentials.addEventListener('change', () => {
      if (this.#credentials.token !== this.#token) this.#startAgain(); // another user may not see these rows
    });
  }

  show() {
    if (!readPageData().inbox) return;
    this.#shown = true;
    if (!this.#rows.more && !this.#isRefused) this.#readNow();
  }

  hide() {
    this.#shown = false;
    clearTimeout(this.#timer);
  }

  /** Read everything again from the first row. */
  #startAgain() {
    this.#rows = new InboxRows();
    this.#failures = 0;
    this.#isRefused = false;
    this.#list.clear();
    this.#paint();
    if (this.#shown) this.#readNow();
  }

  /** Read the next page, and then plan the one after it. */
  #readNow() {
    clearTimeout(this.#timer);
    return this.#reading ??= this.#read().finally(() => {
      this.#reading = null;
      if (this.#shown) this.#plan();
    });
  }

  async #read() {
    const rows = this.#rows;
    this.#token = this.#credentials.token;
    if (!this.#token) return this.#showFault(t('inbox.no_token'));
    try {
      const page = await this.#api.read(rows.position, PAGE_ROWS);
      this.#failures = 0;
      if (rows !== this.#rows) return; // of another user, or the list began again
      rows.add(page);
      this.#showFault('');
    } catch (error) {
      if (rows !== this.#rows) return;
      this.#failures += 1;
      this.#showFault(t('inbox.not_read', { reason: reasonOf(error) }));
      this.#isRefused = isRefusal(error);
    }
    this.#paint();
  }

  /** Plan the next request: later after each failure, and none while there is something to press. */
  #plan() {
    clearTimeout(this.#timer);
    if (this.#rows.position === '0' && !this.#failures && this.#token) return void this.#readNow(); // the list began again meanwhile
    if (this.#rows.more || this.#isRefused || !this.#token) return;
    const wait = Math.min(RETRY_MAX_MS, READ_EVERY_MS * 2 ** this.#failures);
    this.#timer = window.setTimeout(() => (document.hidden ? this.#plan() : this.#readNow()), wait);
  }

  /** @param {Parameters<import('../lib/inbox-api.js').InboxApi['ack']>[0]} body */
  async #acknowledge(body) {
    const rows = this.#rows;
    try {
      const { acked } = await this.#api.ack(body);
      rows.unread -= acked;
      rows.acknowledge(body);
      this.#showFault('');
      this.#paint();
    } catch (error) {
      this.#showFault(t('inbox.not_acked', { reason: reasonOf(error) }));
    }
  }

  #paint() {
    const { rows, unread, gap, more, dropped } = this.#rows;
    const wasRead = this.#rows.epoch !== '';
    setText(this.#summary, wasRead ? `${tPlural('inbox.unread', unread)} ${tPlural('inbox.shown', rows.size)}` : '');
    this.#gap.hidden = !gap;
    this.#dropped.hidden = !dropped;
    setText(this.#dropped, tPlural('inbox.dropped', dropped));
    this.#empty.hidden = !wasRead || rows.size > 0;
    setText(this.#empty, t('inbox.none'));
    this.#next.hidden = !more;
    this.#ackAll.hidden = this.#refresh.hidden = !wasRead;
    this.#list.paint([...rows.values()]);
  }

  /** @param {string} text */
  #showFault(text) { setText(this.#fault, text); }
}

/** @param {unknown} error */
function reasonOf(error) { return error instanceof Error ? error.message : String(error); }

/** Whether the same request would be refused again, and count as one more wrong token. @param {unknown} error */
function isRefusal(error) { return error instanceof RequestFault && [401, 403, 404].includes(error.status); }
