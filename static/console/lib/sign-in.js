/**
 * Sign in at the identity provider: authorization code with PKCE (RFC 7636, RFC 9700 §2.1.1).
 *
 * Tokens are in memory only. A page that was reloaded signs in again, which a provider answers without a question while
 * its own session lasts. The tab stores only what a login that is under way needs, for one use.
 *
 * @typedef {import('./page-data-types.js').LoginData} LoginData
 * @typedef {{state: string, verifier: string, hash: string}} Pending
 * @typedef {'sign_in.no_answer' | 'sign_in.insecure' | 'sign_in.again' | 'sign_in.refused' | 'sign_in.unreachable' | 'sign_in.mixed_up'} Problem
 * @typedef {{access_token?: unknown, refresh_token?: unknown}} TokenAnswer
 */

import { absoluteUrl } from './page-urls.js';
import { readEntry, removeEntry, storeEntry } from './storage.js';

const PENDING_KEY = 'hermes.sign-in';
const ACTIVE_KEY = 'hermes.signed-in';
const RANDOM_BYTES = 32;
const RECENT_MS = 2_000; // the sockets ask for a new token at nearly the same time

/** Emits `change` when the user is signed in or out, or when that failed; then `problem` is set. */
export class SignIn extends EventTarget {
  /** Key of the text that says what went wrong. @type {Problem | null} */
  problem = null;
  /** What the provider said about it. */
  detail = '';
  signedIn = false;
  #login;
  #credentials;
  #refreshToken = '';
  #renewedAt = 0;
  /** @type {Promise<boolean> | null} */
  #renewing = null;

  /**
   * @param {LoginData} login
   * @param {import('./credentials.js').Credentials} credentials
   */
  constructor(login, credentials) {
    super();
    this.#login = login;
    this.#credentials = credentials;
    if (!login.authorization_endpoint || !login.token_endpoint) this.problem = 'sign_in.no_answer';
    else if (!window.isSecureContext) this.problem = 'sign_in.insecure'; // a browser has no crypto.subtle then
  }

  /** Whether a login can be started. */
  get possible() { return this.problem !== 'sign_in.no_answer' && this.problem !== 'sign_in.insecure'; }

  /**
   * Finish the login that this page was opened for, or start one for a page that was reloaded.
   * Call it before the address is read for another purpose.
   */
  async resume() {
    const answer = takeAnswer();
    const pending = takePending();
    if (answer && pending) return this.#finish(answer, pending);
    if (!answer && this.possible && readEntry(ACTIVE_KEY)) return this.start({ silent: true });
  }

  /** Leave the page for the login of the provider. @param {{silent?: boolean}} [options]  `silent`: without a question */
  async start({ silent = false } = {}) {
    if (!this.possible) return;
    const [state, verifier] = [randomText(), randomText()];
    /** @type {Pending} */
    const pending = { state, verifier, hash: location.hash };
    storeEntry(PENDING_KEY, JSON.stringify(pending));
    const url = new URL(/** @type {string} */ (this.#login.authorization_endpoint));
    const parameters = {
      response_type: 'code', response_mode: 'fragment', client_id: this.#login.client_id, redirect_uri: ownAddress(),
      scope: this.#login.scope, state, code_challenge: await challengeOf(verifier), code_challenge_method: 'S256',
      ...(this.#login.audience ? { audience: this.#login.audience } : {}), // Auth0; others ignore it
      ...(silent ? { prompt: 'none' } : {}),
    };
    for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
    location.assign(url);
  }

  /** Forget the tokens, and end the session at the provider. */
  end() {
    this.#forget();
    this.#credentials.signOut();
    this.dispatchEvent(new Event('change'));
    if (!this.#login.end_session_endpoint) return;
    const url = new URL(this.#login.end_session_endpoint);
    url.searchParams.set('client_id', this.#login.client_id);
    url.searchParams.set('post_logout_redirect_uri', ownAddress());
    location.assign(url);
  }

  /** @param {URLSearchParams} answer @param {Pending} pending */
  async #finish(answer, pending) {
    const { issuer } = this.#login;
    if (answer.get('state') !== pending.state || (answer.get('iss') ?? issuer) !== issuer) return this.#fail('sign_in.mixed_up'); // RFC 9207
    const error = answer.get('error');
    if (error === 'login_required' || error === 'interaction_required') return this.#fail('sign_in.again');
    if (error) return this.#fail('sign_in.refused', answer.get('error_description') ?? error);
    await this.#exchange({
      grant_type: 'authorization_code', code: answer.get('code') ?? '', redirect_uri: ownAddress(), code_verifier: pending.verifier,
    }).catch((failure) => this.#fail('sign_in.unreachable', String(failure)));
  }

  /**
   * Return whether there is a new token. Throws if the provider cannot be reached: then it is worth another try.
   * @returns {Promise<boolean>}
   */
  async renew() {
    if (Date.now() - this.#renewedAt < RECENT_MS) return true;
    this.#renewing ??= this.#renewOnce().finally(() => { this.#renewing = null; });
    return this.#renewing;
  }

  async #renewOnce() {
    if (!this.#refreshToken) return this.#fail('sign_in.again');
    return this.#exchange({ grant_type: 'refresh_token', refresh_token: this.#refreshToken });
  }

  /**
   * Get tokens from the provider.
   * @param {Record<string, string>} grant
   * @returns {Promise<boolean>}  false if it refuses
   */
  async #exchange(grant) {
    const response = await fetch(/** @type {string} */ (this.#login.token_endpoint), {
      method: 'POST', credentials: 'omit', body: new URLSearchParams({ client_id: this.#login.client_id, ...grant }),
    });
    if (response.status >= 500) throw new Error(`HTTP ${response.status}`);
    /** @type {TokenAnswer & {error?: unknown, error_description?: unknown}} */
    const answer = await response.json().catch(() => ({}));
    if (!response.ok || typeof answer.access_token !== 'string') {
      const again = answer.error === 'invalid_grant' && grant.grant_type === 'refresh_token';
      return this.#fail(again ? 'sign_in.again' : 'sign_in.refused', again ? '' : String(answer.error_description ?? answer.error ?? response.status));
    }
    if (typeof answer.refresh_token === 'string') this.#refreshToken = answer.refresh_token; // a new one each time
    this.#renewedAt = Date.now();
    this.problem = null;
    this.detail = '';
    storeEntry(ACTIVE_KEY, '1');
    this.#credentials.signIn(answer.access_token, () => this.renew());
    if (!this.signedIn) {
      this.signedIn = true;
      this.dispatchEvent(new Event('change'));
    }
    return true;
  }

  /** @param {Problem} problem @param {string} [detail] @returns {false} */
  #fail(problem, detail = '') {
    this.#forget();
    this.problem = problem;
    this.detail = detail;
    this.dispatchEvent(new Event('change'));
    return false;
  }

  #forget() {
    this.signedIn = false;
    this.#refreshToken = '';
    this.#renewedAt = 0;
    removeEntry(ACTIVE_KEY);
  }
}

/** The address of this page, to which the provider sends the user back. */
function ownAddress() { return absoluteUrl('.').href; }

/** Take the answer of the provider out of the address; null if there is none. */
function takeAnswer() {
  const answer = new URLSearchParams(location.hash.slice(1));
  if (!answer.has('state') || !(answer.has('code') || answer.has('error'))) return null;
  history.replaceState(null, '', ownAddress());
  return answer;
}

/** Take the login that is under way, for one use; restore the panel that was shown. @returns {Pending | null} */
function takePending() {
  const text = readEntry(PENDING_KEY);
  if (!text) return null;
  removeEntry(PENDING_KEY);
  try {
    const pending = JSON.parse(text);
    if (!location.hash && pending.hash) history.replaceState(null, '', pending.hash);
    return pending;
  } catch {
    return null;
  }
}

function randomText() { return base64Url(crypto.getRandomValues(new Uint8Array(RANDOM_BYTES))); }

/** The S256 challenge of a verifier (RFC 7636 §4.2). @param {string} verifier */
async function challengeOf(verifier) {
  return base64Url(new Uint8Array(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier))));
}

/** @param {Uint8Array} bytes */
function base64Url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}
