/** The form that does what a backend service does: `POST /notify`; and the same as a command to paste. */

import { copyText } from '../copy.js';
import { byId, find, make, setText } from '../element.js';
import { t } from '../strings.js';

/** @typedef {{user_id?: string, tenant_id?: string, title: string, message: string, type: string, data?: object}} Body */

const ANSWERS_WITHIN_MS = 15_000;
const FIELDS = ['addressee', 'title', 'message', 'type', 'data'];

export class NotifyForm {
  #form = find(document, '#notify', HTMLFormElement);
  #answer = byId('notify-answer');
  #button = find(this.#form, '[type=submit]', HTMLButtonElement);
  #credentials;
  #sending = false;
  #filledIn = '';

  /** @param {import('../credentials.js').Credentials} credentials */
  constructor(credentials) {
    this.#credentials = credentials;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
    this.#form.addEventListener('input', () => this.#showCommand());
    byId('notify-copy').addEventListener('click', async () => {
      setText(byId('notify-copied'), t(await copyText(byId('notify-curl').textContent ?? '') ? 'copy.done' : 'copy.failed'));
    });
    this.#showCommand();
  }

  /** Filled in where nobody has typed another. @param {string} userId */
  set userId(userId) {
    if (this.#value('kind') === 'user_id' && ['', this.#filledIn].includes(this.#value('addressee'))) {
      this.#field('addressee').value = this.#filledIn = userId;
    }
    this.#showCommand();
  }

  /** What is sent; throws a SyntaxError where `data` is no JSON object. @returns {Body} */
  get #body() {
    const data = this.#value('data').trim();
    return {
      [this.#value('kind')]: this.#value('addressee'),
      title: this.#value('title'), message: this.#value('message'), type: this.#value('type'),
      ...(data && { data: objectOf(data) }),
    };
  }

  #showCommand() {
    try {
      setText(byId('notify-curl'), command(this.#body));
      this.#mark([]);
    } catch {
      setText(byId('notify-curl'), t('notifications.data_first'));
      this.#mark(['data']);
    }
    setText(byId('notify-copied'), '');
  }

  async #send() {
    if (this.#sending) return; // rather than a button that is disabled, and so loses the focus
    let body;
    try {
      body = this.#body;
    } catch {
      this.#tell('bad', t('notifications.data_first'));
      return this.#field('data').focus();
    }
    this.#busy(true);
    this.#answer.replaceChildren(make('p', {}, t('notifications.sending')));
    try {
      const response = await fetch('/notify', this.#request(body));
      const answer = await response.json().catch(() => null);
      if (answer) this.#show(response.status, answer);
      else this.#tell('bad', t('notifications.no_answer', { why: response.status }));
    } catch (error) {
      this.#tell('bad', t('notifications.no_answer', { why: error instanceof Error ? error.message : String(error) }));
    } finally {
      this.#busy(false);
    }
  }

  /** @param {boolean} sending */
  #busy(sending) {
    this.#sending = sending;
    this.#button.setAttribute('aria-disabled', String(sending));
  }

  /**
   * @param {Body} body
   * @returns {RequestInit}
   */
  #request(body) {
    /** @type {Record<string, string>} */
    const headers = { 'Content-Type': 'application/json' };
    if (this.#credentials.apiKey) headers['X-API-Key'] = this.#credentials.apiKey;
    const signal = AbortSignal.timeout(ANSWERS_WITHIN_MS);
    return { method: 'POST', headers, body: JSON.stringify(body), cache: 'no-store', signal };
  }

  /**
   * @param {number} status
   * @param {Record<string, any>} answer
   */
  #show(status, answer) {
    const fields = answer.error?.fields ?? {};
    this.#mark(Object.keys(fields).map((name) => (name.endsWith('_id') ? 'addressee' : name)));
    if (answer.status !== 'success') {
      const list = Object.entries(fields).map(([name, words]) => make('li', {}, `${name}: ${words}`));
      this.#tell('bad', `${status} ${answer.error?.code}: ${answer.error?.message}`, make('ul', {}, ...list));
    } else if (answer.sent) this.#tell('good', t('notifications.sent'));
    else this.#tell('so-so', t('notifications.not_sent'));
    this.#answer.append(make('code', {}, `${status} ${JSON.stringify(answer)}`));
  }

  /** @param {string[]} faulty */
  #mark(faulty) { for (const name of FIELDS) this.#field(name).setAttribute('aria-invalid', String(faulty.includes(name))); }

  /**
   * @param {'good' | 'so-so' | 'bad'} mood
   * @param {string} words
   * @param {Node[]} more
   */
  #tell(mood, words, ...more) { this.#answer.replaceChildren(make('p', { class: mood }, words), ...more); }

  /** @param {string} name */
  #value(name) { return this.#field(name).value; }

  /** @param {string} name */
  #field(name) { return /** @type {HTMLInputElement} */ (this.#form.elements.namedItem(name)); }
}

/** @param {string} text @returns {object} */
function objectOf(text) {
  const value = JSON.parse(text);
  if (!value || typeof value !== 'object' || Array.isArray(value)) throw new SyntaxError('no object');
  return value;
}

/** For a POSIX shell; the key stands in a variable, so that it stays out of the history. @param {Body} body */
function command(body) {
  const quoted = `'${JSON.stringify(body).replaceAll("'", "'\\''")}'`;
  return `curl -sS '${location.origin}/notify' -H "X-API-Key: $HERMES_API_KEY" \\\n  -H 'Content-Type: application/json' -d ${quoted}`;
}
