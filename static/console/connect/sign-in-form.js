/** The buttons to sign in and out at the identity provider, and what happened. */

import { byId, find } from '../lib/dom.js';
import { t } from '../lib/i18n.js';

/** @typedef {import('../lib/sign-in.js').SignIn} SignIn */

export class SignInForm {
  #signIn;
  #start = find(document, '#sign-in-start', HTMLButtonElement);
  #end = find(document, '#sign-in-end', HTMLButtonElement);

  /** @param {SignIn} signIn @param {string} issuer */
  constructor(signIn, issuer) {
    this.#signIn = signIn;
    this.#start.textContent = t('sign_in.start', { issuer: new URL(issuer).host });
    this.#start.addEventListener('click', () => signIn.start());
    this.#end.addEventListener('click', () => signIn.end());
    signIn.addEventListener('change', () => this.#update());
    byId('sign-in').hidden = false;
    this.#update();
  }

  #update() {
    const { signedIn, possible, problem, detail } = this.#signIn;
    this.#start.hidden = signedIn;
    this.#start.disabled = !possible;
    this.#end.hidden = !signedIn;
    byId('sign-in-note').textContent = problem ? t(problem, { detail }) : t(signedIn ? 'sign_in.memory' : 'sign_in.hint');
  }
}
