/**
 * What can be said of a token without its secret: each rule of docs/protocol.md with its verdict.
 *
 * @typedef {'good' | 'bad' | 'care' | 'unknown'} Verdict
 * @typedef {{verdict: Verdict, words: string}} Check
 *
 * @typedef {object} Findings
 * @property {Check[]} checks
 * @property {Record<string, any> | null} claims
 */

import { textOf } from '../connect/claims.js';
import { t } from '../strings.js';
import { ageWords, clockWords } from '../time-words.js';

const TOKEN_MAX_CHARS = 8_192;

/**
 * @param {string} token
 * @param {number} [now]  Unix ms
 * @returns {Findings}
 */
export function examine(token, now = Date.now()) {
  const parts = token.split('.');
  const [header, claims] = parts.slice(0, 2).map(objectOf);
  const sound = parts.length === 3 && header && claims && parts[2];
  const form = sound ? good(t('clinic.form.good')) : bad(formFault(parts, header, claims));
  const checks = [form];
  if (token.length > TOKEN_MAX_CHARS) checks.push(bad(t('clinic.long', { n: token.length, max: TOKEN_MAX_CHARS })));
  if (header) checks.push(algorithm(header));
  checks.push({ verdict: 'unknown', words: t('clinic.signature') });
  if (claims) checks.push(user(claims), name(claims), tenant(claims), superuser(claims), expiry(claims, now), start(claims, now));
  return { checks, claims };
}

/** @param {string} words @returns {Check} */
function good(words) { return { verdict: 'good', words }; }

/** @param {string} words @returns {Check} */
function bad(words) { return { verdict: 'bad', words }; }

/** @param {string} words @returns {Check} */
function care(words) { return { verdict: 'care', words }; }

/** @param {string} part @returns {Record<string, any> | null} */
function objectOf(part) {
  try {
    const value = JSON.parse(textOf(part));
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/**
 * @param {string[]} parts
 * @param {object | null} header
 * @param {object | null} claims
 */
function formFault(parts, header, claims) {
  if (parts.length !== 3) return t('clinic.form.parts', { n: parts.length });
  if (!header) return t('clinic.form.header');
  return claims ? t('clinic.form.unsigned') : t('clinic.form.claims');
}

/** @param {Record<string, any>} header */
function algorithm({ alg }) {
  return alg === 'HS256' ? good(t('clinic.alg.good')) : bad(t('clinic.alg.bad', { alg: shown(alg) }));
}

/** @param {Record<string, any>} claims */
function user({ user_id: id }) {
  if (id === undefined) return bad(t('clinic.missing', { claim: 'user_id' }));
  return isId(id) ? good(t('clinic.user.good', { id })) : bad(t('clinic.not_id', { claim: 'user_id', value: shown(id) }));
}

/** @param {Record<string, any>} claims */
function name({ username }) {
  if (username === undefined) return bad(t('clinic.missing', { claim: 'username' }));
  if (typeof username !== 'string' || !username) return bad(t('clinic.name.bad', { value: shown(username) }));
  return good(t('clinic.name.good', { name: username }));
}

/** @param {Record<string, any>} claims */
function tenant({ tenant_id: id }) {
  if (id === undefined || id === null) return care(t('clinic.tenant.none'));
  return isId(id) ? good(t('clinic.tenant.good', { id })) : bad(t('clinic.not_id', { claim: 'tenant_id', value: shown(id) }));
}

/** @param {Record<string, any>} claims */
function superuser({ is_superuser: is }) {
  if (is === true) return care(t('clinic.superuser.yes'));
  return is === undefined || is === false ? good(t('clinic.superuser.no')) : care(t('clinic.superuser.odd', { value: shown(is) }));
}

/**
 * @param {Record<string, any>} claims
 * @param {number} now
 */
function expiry({ exp }, now) {
  if (exp === undefined) return care(t('clinic.exp.none'));
  if (typeof exp !== 'number') return bad(t('clinic.not_number', { claim: 'exp', value: shown(exp) }));
  const when = { time: clockWords(exp * 1000), age: ageWords(Math.abs(exp * 1000 - now)) };
  return exp * 1000 > now ? good(t('clinic.exp.good', when)) : bad(t('clinic.exp.bad', when));
}

/**
 * @param {Record<string, any>} claims
 * @param {number} now
 */
function start({ nbf }, now) {
  if (nbf === undefined) return good(t('clinic.nbf.none'));
  if (typeof nbf !== 'number') return bad(t('clinic.not_number', { claim: 'nbf', value: shown(nbf) }));
  return nbf * 1000 <= now ? good(t('clinic.nbf.good')) : bad(t('clinic.nbf.bad', { time: clockWords(nbf * 1000) }));
}

/** @param {unknown} value */
function isId(value) { return (typeof value === 'string' && value !== '') || Number.isInteger(value); }

/** @param {unknown} value */
export function shown(value) { return JSON.stringify(value) ?? '–'; }
