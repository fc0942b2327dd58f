/** The form that does what a backend service does: `POST /notify`. */

import { byId, find, make } from '../element.js';

export class NotifyForm {
  #form = find(document, '#notify', HTMLFormElement);
  #answer = byId('notify-answer');
  #button = find(this.#form, '[type=submit]', HTMLButtonElement);

  #credentials;

  /** @param {import('../credentials.js').Credentials} credentials */
  constructor(credentials) {
    this.#credentials = credentials;
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.#send();
    });
  }

  /** @param {string} userId */
  set userId(userId) { this.#field('user_id').value = userId; }

  async #send() {
    this.#button.disabled = true;
    this.#answer.replaceChildren(make('p', {}, 'sending…'));
    try {
      const response = await fetch('/notify', this.#request());
      this.#show(response.status, await response.json());
    } catch (error) {
      this.#tell('bad', `No answer that could be read: ${error instanceof Error ? error.message : error}`);
    } finally {
      this.#button.disabled = false;
    }
  }

  /** @returns {RequestInit} */
  #request() {
    const body = Object.fromEntries(new FormData(this.#form));
    const key = this.#credentials.apiKey;
    /** @type {Record<string, string>} */
    const headers = { 'Content-Type': 'application/json' };
    if (key) headers['X-API-Key'] = key;
    return { method: 'POST', headers, body: JSON.stringify(body), cache: 'no-store' };
  }

  /**
   * @param {number} status
   * @param {Record<string, any>} answer
   */
  #show(status, answer) {
    const fields = answer.error?.fields ?? {};
    for (const name of ['user_id', 'title', 'message', 'type']) {
      this.#field(name).setAttribute('aria-invalid', String(name in fields));
    }
    if (answer.status !== 'success') {
      const list = Object.entries(fields).map(([name, words]) => make('li', {}, `${name}: ${words}`));
      this.#tell('bad', `${status} ${answer.error?.code}: ${answer.error?.message}`, make('ul', {}, ...list));
    } else if (answer.sent) this.#tell('good', 'success, sent: true. An open socket of this user took it.');
    else this.#tell('so-so', 'success, sent: false. This user has no open socket; nothing is kept for later.');
    const { status: word, sent } = answer;
    this.#answer.append(make('code', {}, JSON.stringify({ status: word, sent })));
  }

  /**
   * @param {'good' | 'so-so' | 'bad'} mood
   * @param {string} words
   * @param {Node[]} more
   */
  #tell(mood, words, ...more) { this.#answer.replaceChildren(make('p', { class: mood }, words), ...more); }

  /** @param {string} name */
  #field(name) { return /** @type {HTMLInputElement} */ (this.#form.elements.namedItem(name)); }
}
