/** The state of the inbox and its figures, which need an API key with the scope `inbox`. Loaded when there is an inbox. */

import { make, setText } from '../lib/dom.js';
import { formatDuration } from '../lib/format-time.js';
import { formatNumber, t } from '../lib/i18n.js';
import { RequestFault } from '../lib/inbox-api.js';

const READ_EVERY_MS = 5_000; // while the overview is shown
const RETRY_MAX_MS = 60_000;
const MEBIBYTE = 1_048_576;

export class StoreHealth {
  #api;
  #permissions;
  #credentials;
  #timer = 0;
  #failures = 0;
  #state = make('p', { role: 'status' });
  #limits = make('p', { class: 'muted' });
  #figures = make('dl', { class: 'totals' });

  /**
   * @param {HTMLElement} root
   * @param {object} dependencies
   * @param {import('../lib/inbox-api.js').InboxApi} dependencies.api
   * @param {import('../lib/credentials.js').Credentials} dependencies.credentials
   * @param {import('../lib/permissions.js').Permissions} dependencies.permissions
   */
  constructor(root, { api, credentials, permissions }) {
    this.#api = api;
    this.#credentials = credentials;
    this.#permissions = permissions;
    root.className = 'card';
    root.append(make('h3', {}, t('panel.inbox')), this.#state, this.#limits, this.#figures);
    for (const each of [credentials, permissions]) {
      each.addEventListener('change', () => {
        this.#failures = 0;
        if (this.#timer) this.show();
      });
    }
  }

  /** Show why the inbox does not work. @param {string | null} problem  empty if it works, null if that is not known */
  set problem(problem) {
    this.#state.className = problem ? 'bad' : 'good';
    setText(this.#state, problem === null ? '' : problem ? t('inbox.store.fails', { reason: problem }) : t('inbox.store.works'));
  }

  show() {
    this.hide();
    const read = async () => {
      if (!document.hidden) await this.#read();
      if (this.#timer === own) own = this.#timer = window.setTimeout(read, Math.min(RETRY_MAX_MS, READ_EVERY_MS * 2 ** this.#failures));
    };
    let own = this.#timer = window.setTimeout(read, 0);
  }

  hide() {
    clearTimeout(this.#timer);
    this.#timer = 0;
  }

  async #read() {
    const reason = this.#reasonAgainst;
    setText(this.#limits, reason);
    this.#figures.hidden = Boolean(reason);
    if (reason) return;
    try {
      this.#showFigures(await this.#api.stats());
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      setText(this.#limits, t('inbox.store.no_answer', { reason: error instanceof RequestFault ? error.message : String(error) }));
      this.#figures.hidden = true;
    }
  }

  /** Why there are no figures; empty if the key may see them. */
  get #reasonAgainst() {
    if (!this.#credentials.apiKey || this.#permissions.isRejected) return t('inbox.store.need_key');
    const { facts } = this.#permissions;
    return this.#permissions.may('inbox') ? '' : t('inbox.store.no_scope', { name: facts?.name ?? '' });
  }

  /** @param {import('../lib/inbox-api.js').InboxStats} stats */
  #showFigures({ rows, bytes, oldest, last_seq: last, epoch }) {
    /** @type {[import('../lib/i18n.js').Key, string][]} */
    const facts = [
      ['inbox.store.rows', formatNumber(rows)], ['inbox.store.bytes', `${formatNumber(bytes / MEBIBYTE)} MiB`],
      ['inbox.store.oldest', oldest === null ? '–' : t('inbox.store.age', { age: formatDuration(Date.now() - oldest) })],
      ['inbox.store.last', formatNumber(last)], ['inbox.store.epoch', epoch],
    ];
    this.#figures.replaceChildren(...facts.map(([key, text]) => make('div', {}, make('dt', {}, t(key)), make('dd', {}, text))));
  }
}
