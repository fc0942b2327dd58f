/** The form that sends `POST /notify`, and the equivalent curl command. */

import { copyText } from '../lib/clipboard.js';
import { byId, find, make, setText } from '../lib/dom.js';
import { t } from '../lib/i18n.js';
import { absoluteUrl } from '../lib/page-urls.js';
import { timeLimit } from '../lib/time-limit.js';

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

  /**
   * @param {import('../lib/credentials.js').Credentials} credentials
   * @param {import('../lib/permissions.js').Permissions} permissions
   */
  constructor(credentials, permissions) {
    this.#credentials = credentials;
    this.#permissions = permissions;
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
      title: this.#value('title'), message: this.#value('message'), type: this.#value('type'),
    };
    if (data) checkObject(data);
    return data ? `${JSON.stringify(fields).slice(0, -1)},"data":${data}}` : JSON.stringify(fields);
  }

  #showCommand() {
    try {
      setText(byId('notify-curl'), curlCommand(this.#body));
      this.#markInvalid([]);
    } catch {
      setText(byId('notify-curl'), t('notifications.data_first'));
      this.#markInvalid(['data']);
    }
    setText(byId('notify-copied'), '');
  }

  async #send() {
    if (this.#sending || !this.#permissions.may('notify')) return; // instead of disabling the button, which would lose the focus
    let body;
    try {
      body = this.#body;
    } catch {
      this.#showResult('bad', t('notifications.data_first'));
      return this.#field('data').focus();
    }
    this.#setSending(true);
    this.#answer.replaceChildren(make('p', {}, t('notifications.sending')));
    try {
      const response = await fetch('notify', this.#request(body));
      const answer = await response.json().catch(() => null);
      if (answer) this.#showResponse(response.status, answer);
      else this.#showResult('bad', t('notifications.no_answer', { reason: response.status }));
    } catch (error) {
      this.#showResult('bad', t('notifications.no_answer', { reason: error instanceof Error ? error.message : String(error) }));
    } finally {
      this.#setSending(false);
    }
  }

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
    setText(byId('notify-permission'), forbidden ? t('notifications.no_scope', { name: facts?.name ?? '' })
      : facts?.tenant_id != null ? t('notifications.only_tenant', { name: facts.name, tenant: facts.tenant_id }) : '');
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
    } else if (answer.sent) this.#showResult('good', t('notifications.sent'));
    else this.#showResult('warn', t('notifications.not_sent'));
    this.#answer.append(make('code', {}, `${status} ${JSON.stringify(answer)}`));
  }

  /** @param {string[]} invalid */
  #markInvalid(invalid) { for (const name of FIELDS) this.#field(name).setAttribute('aria-invalid', String(invalid.includes(name))); }

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
