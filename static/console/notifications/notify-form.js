/** The form that sends `POST /notify`, and the equivalent curl command. */

import { copyText } from '../lib/clipboard.js';
import { byId, find, make, setText } from '../lib/dom.js';
import { t } from '../lib/i18n.js';
import { InboxApi } from '../lib/inbox-api.js';
import { readPageData } from '../lib/page-data.js';
import { absoluteUrl } from '../lib/page-urls.js';
import { timeLimit } from '../lib/time-limit.js';
import { SentList } from './sent-list.js';
import { STORE_FIELDS, StoreFields } from './store-fields.js';

const TIMEOUT_MS = 15_000;
const FIELDS = ['addressee', 'title', 'message', 'type', 'data'];

export class NotifyForm {
  #form = find(document, '#notify', HTMLFormElement);
  #answer = byId('notify-answer');
  #button = find(this.#form, '[type=submit]', HTMLButtonElement);
  #credentials;
  #permissions;
  #sending = false;
  #prefilled = '';
  /** Both are null without an inbox. @type {StoreFields | null} */
  #storeFields = null;
  /** @type {SentList | null} */
  #sentList = null;

  /**
   * @param {import('../lib/credentials.js').Credentials} credentials
   * @param {import('../lib/permissions.js').Permissions} permissions
   */
  constructor(credentials, permissions) {
    this.#credentials = credentials;
    this.#permissions = permissions;
    if (readPageData().inbox) {
      this.#storeFields = new StoreFields(find(this.#form, '.buttons', HTMLElement));
      this.#sentList = new SentList(new InboxApi(credentials), permissions);
      this.#answer.after(this.#sentList.root);
    }
    permissions.addEventListener('change', () => this.#updateButton());
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#form.addEventListener('input', () => this.#showCommand());
    byId('notify-copy').addEventListener('click', async () => {
      setText(byId('notify-copied'), t(await copyText(byId('notify-curl').textContent ?? '') ? 'copy.done' : 'copy.failed'));
    });
    this.#updateButton();
    this.#showCommand();
    this.#button.disabled = false; // until now the browser itself would have sent the form
  }

  show() { this.#sentList?.show(); }

  hide() { this.#sentList?.hide(); }

  /** Fill in the user id unless the user has typed another. @param {string} userId */
  set userId(userId) {
    if (this.#value('kind') === 'user_id' && ['', this.#prefilled].includes(this.#value('addressee'))) {
      this.#field('addressee').value = this.#prefilled = userId;
    }
    this.#showCommand();
  }

  /** The request body, with `data` as it was typed; throws a SyntaxError if that is not a JSON object. */
  get #body() {
    const data = this.#value('data').trim();
    const fields = {
      [this.#value('kind')]: this.#value('addressee'),
      title: this.#value('title'), message: this.#value('message'), type: this.#value('type'), ...this.#storeFields?.values,
    };
    if (data) checkObject(data);
    return data ? `${JSON.stringify(fields).slice(0, -1)},"data":${data}}` : JSON.stringify(fields);
  }

  #showCommand() {
    this.#suggestIds();
    try {
      setText(byId('notify-curl'), curlCommand(this.#body));
      this.#markInvalid([]);
    } catch {
      setText(byId('notify-curl'), t('notify.data_first'));
      this.#markInvalid(['data']);
    }
    setText(byId('notify-copied'), '');
  }

  async #send() {
    if (this.#sending || !this.#permissions.may('notify')) return; // instead of disabling the button, which would lose the focus
    const [kind, recipient, title] = [/** @type {'user_id'} */ (this.#value('kind')), this.#value('addressee'), this.#value('title')];
    let body;
    try {
      body = this.#body;
    } catch {
      this.#showResult('bad', t('notify.data_first'));
      return this.#field('data').focus();
    }
    this.#setSending(true);
    this.#answer.replaceChildren(make('p', {}, t('notify.sending')));
    try {
      const response = await fetch('notify', this.#request(body));
      const answer = await response.json().catch(() => null);
      if (answer) this.#showResponse(response.status, answer);
      if (answer?.stored) this.#addSent({ id: answer.id, kind, recipient, title, at: Date.now() });
      if (!answer) this.#showResult('bad', t('notify.no_answer', { reason: response.status }));
    } catch (error) {
      this.#showResult('bad', t('notify.no_answer', { reason: error instanceof Error ? error.message : String(error) }));
    } finally {
      this.#setSending(false);
    }
  }

  /** @param {Parameters<SentList['add']>[0]} sent */
  #addSent(sent) {
    this.#sentList?.add(sent);
    this.#suggestIds();
  }

  #suggestIds() { this.#storeFields?.suggest(this.#sentList?.idsTo(this.#value('addressee')) ?? []); }

  /** @param {boolean} sending */
  #setSending(sending) {
    this.#sending = sending;
    this.#updateButton();
  }

  /** Disable the button while sending, and if the key may not send. */
  #updateButton() {
    const { facts } = this.#permissions;
    const forbidden = !this.#permissions.may('notify');
    this.#button.setAttribute('aria-disabled', String(this.#sending || forbidden));
    setText(byId('notify-permission'), forbidden ? t('notify.no_scope', { name: facts?.name ?? '' })
      : facts?.tenant_id != null ? t('notify.only_tenant', { name: facts.name, tenant: facts.tenant_id }) : '');
  }

  /**
   * @param {string} body
   * @returns {RequestInit}
   */
  #request(body) {
    /** @type {Record<string, string>} */
    const headers = { 'Content-Type': 'application/json' };
    if (this.#credentials.apiKey) headers['X-API-Key'] = this.#credentials.apiKey;
    return { method: 'POST', headers, body, cache: 'no-store', signal: timeLimit(TIMEOUT_MS) };
  }

  /**
   * @param {number} status
   * @param {Record<string, any>} answer
   */
  #showResponse(status, answer) {
    const fields = answer.error?.fields ?? {};
    this.#markInvalid(Object.keys(fields).map((name) => (name.endsWith('_id') ? 'addressee' : name)));
    if (answer.status !== 'success') {
      const list = Object.entries(fields).map(([name, text]) => make('li', {}, `${name}: ${text}`));
      this.#showResult('bad', `${status} ${answer.error?.code}: ${answer.error?.message}`, make('ul', {}, ...list));
    } else this.#showSuccess(answer);
    this.#answer.append(make('code', {}, `${status} ${JSON.stringify(answer)}`));
  }

  /** @param {Record<string, any>} answer */
  #showSuccess({ sent, stored, reason }) {
    const storage = stored ? 'stored' : reason ? 'not_stored' : 'never_stored';
    const texts = [t(sent ? 'notify.sent' : 'notify.not_sent'), sent && !this.#storeFields ? '' : t(`notify.${storage}`, { reason })];
    this.#showResult(reason || !(sent || stored) ? 'warn' : 'good', texts.join(' ').trim());
  }

  /** @param {string[]} invalid */
  #markInvalid(invalid) { for (const name of this.#storeFields ? [...FIELDS, ...STORE_FIELDS] : FIELDS) this.#field(name).setAttribute('aria-invalid', String(invalid.includes(name))); }

  /**
   * @param {'good' | 'warn' | 'bad'} level
   * @param {string} text
   * @param {Node[]} more
   */
  #showResult(level, text, ...more) { this.#answer.replaceChildren(make('p', { class: level }, text), ...more); }

  /** @param {string} name */
  #value(name) { return this.#field(name).value; }

  /** @param {string} name */
  #field(name) { return /** @type {HTMLInputElement} */ (this.#form.elements.namedItem(name)); }
}

/** @param {string} text */
function checkObject(text) {
  const value = JSON.parse(text);
  if (!value || typeof value !== 'object' || Array.isArray(value)) throw new SyntaxError('not a JSON object');
}

/** The command for a POSIX shell; the key comes from a variable, so that it is not in the shell history. @param {string} body */
function curlCommand(body) {
  return `curl -sS ${quote(absoluteUrl('notify').href)} -H "X-API-Key: $HERMES_API_KEY" \\\n  -H 'Content-Type: application/json' -d ${quote(body)}`;
}

/** A text as one word of a POSIX shell. @param {string} text */
function quote(text) { return `'${text.replaceAll("'", "'\\''")}'`; }
