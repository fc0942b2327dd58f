/**
 * Check a token against the rules of docs/protocol.md, as far as possible without the secret.
 *
 * @typedef {'good' | 'bad' | 'warning' | 'unknown'} Verdict
 * @typedef {{verdict: Verdict, text: string}} Check
 *
 * @typedef {object} TokenReport
 * @property {Check[]} checks
 * @property {Record<string, any> | null} claims
 */

import { formatDuration, formatTime } from '../lib/format-time.js';
import { t } from '../lib/i18n.js';
import { readPageData } from '../lib/page-data.js';
import { decodeJsonPart, tenantOf } from '../lib/token-claims.js';

const TOKEN_MAX_CHARS = 8_192;

/**
 * Check each rule.
 * @param {string} token
 * @param {number} [now]  Unix ms
 * @returns {TokenReport}
 */
export function checkToken(token, now = Date.now()) {
  const parts = token.split('.');
  const [header, claims] = parts.slice(0, 2).map(decodeJsonPart);
  const wellFormed = parts.length === 3 && header && claims && parts[2];
  const form = wellFormed ? good(t('inspector.form.good')) : bad(formError(parts, header, claims));
  const checks = [form];
  if (token.length > TOKEN_MAX_CHARS) checks.push(bad(t('inspector.too_long', { n: token.length, max: TOKEN_MAX_CHARS })));
  if (header) checks.push(checkAlgorithm(header));
  checks.push({ verdict: 'unknown', text: t('inspector.signature') });
  if (claims) checks.push(checkUser(claims), checkName(claims), checkTenant(claims), checkSuperuser(claims), checkExp(claims, now), checkNbf(claims, now), ...checkAddressees(claims));
  return { checks, claims };
}

/** @param {string} text @returns {Check} */
function good(text) { return { verdict: 'good', text }; }

/** @param {string} text @returns {Check} */
function bad(text) { return { verdict: 'bad', text }; }

/** @param {string} text @returns {Check} */
function warn(text) { return { verdict: 'warning', text }; }

/**
 * @param {string[]} parts
 * @param {object | null} header
 * @param {object | null} claims
 */
function formError(parts, header, claims) {
  if (parts.length !== 3) return t('inspector.form.parts', { n: parts.length });
  if (!header) return t('inspector.form.header');
  return claims ? t('inspector.form.unsigned') : t('inspector.form.claims');
}

/** @param {Record<string, any>} header */
function checkAlgorithm({ alg }) {
  return alg === 'HS256' ? good(t('inspector.alg.good')) : bad(t('inspector.alg.bad', { alg: toJson(alg) }));
}

/** @param {Record<string, any>} claims */
function checkUser({ user_id: id }) {
  if (id === undefined) return bad(t('inspector.missing', { claim: 'user_id' }));
  return isId(id) ? good(t('inspector.user.good', { id })) : bad(t('inspector.not_id', { claim: 'user_id', value: toJson(id) }));
}

/** @param {Record<string, any>} claims */
function checkName({ username }) {
  if (username === undefined) return bad(t('inspector.missing', { claim: 'username' }));
  if (typeof username !== 'string' || !username) return bad(t('inspector.name.bad', { value: toJson(username) }));
  return good(t('inspector.name.good', { name: username }));
}

/** @param {Record<string, any>} claims */
function checkTenant(claims) {
  const id = tenantOf(claims);
  const claim = readPageData().token_rules.claim_tenant;
  if (id === undefined || id === null) return warn(t('inspector.tenant.none', { claim }));
  return isId(id) ? good(t('inspector.tenant.good', { id })) : bad(t('inspector.not_id', { claim, value: toJson(id) }));
}

/** @param {Record<string, any>} claims */
function checkSuperuser({ is_superuser: is }) {
  if (is === true) return warn(t('inspector.superuser.yes'));
  return is === undefined || is === false ? good(t('inspector.superuser.no')) : warn(t('inspector.superuser.odd', { value: toJson(is) }));
}

/**
 * @param {Record<string, any>} claims
 * @param {number} now
 */
function checkExp({ exp }, now) {
  if (exp === undefined) return warn(t('inspector.exp.none'));
  if (typeof exp !== 'number') return bad(t('inspector.not_number', { claim: 'exp', value: toJson(exp) }));
  const when = { time: formatTime(exp * 1000), age: formatDuration(Math.abs(exp * 1000 - now)) };
  return exp * 1000 > now ? good(t('inspector.exp.good', when)) : bad(t('inspector.exp.bad', when));
}

/**
 * @param {Record<string, any>} claims
 * @param {number} now
 */
function checkNbf({ nbf }, now) {
  if (nbf === undefined) return good(t('inspector.nbf.none'));
  if (typeof nbf !== 'number') return bad(t('inspector.not_number', { claim: 'nbf', value: toJson(nbf) }));
  return nbf * 1000 <= now ? good(t('inspector.nbf.good')) : bad(t('inspector.nbf.bad', { time: formatTime(nbf * 1000) }));
}

/** Issuer and audience: only the server knows the right values. @param {Record<string, any>} claims */
function checkAddressees(claims) {
  const { checks_issuer: issuer, checks_audience: audience } = readPageData().token_rules;
  const names = [...(issuer ? ['iss'] : []), ...(audience ? ['aud'] : [])];
  return names.map((claim) => (claims[claim] === undefined ? bad(t('inspector.missing', { claim }))
    : { verdict: /** @type {const} */ ('unknown'), text: t('inspector.addressee', { claim, value: toJson(claims[claim]) }) }));
}

/** @param {unknown} value */
function isId(value) { return (typeof value === 'string' && value !== '') || typeof value === 'bigint' || Number.isInteger(value); }

/** The value as JSON, `–` if it is undefined. @param {unknown} value */
function toJson(value) { return JSON.stringify(value) ?? '–'; }
