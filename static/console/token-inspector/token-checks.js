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
import { claimAt, decodeJsonPart, isSuperuser, nameOf, tenantOf, userOf } from '../lib/token-claims.js';

const TOKEN_MAX_CHARS = 8_192;
const OTHER_TOKENS = ['Refresh', 'ID', 'Logout'];

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
  if (claims) {
    checks.push(
      checkUser(claims), checkName(claims), checkTenant(claims), checkSuperuser(claims), checkExp(claims, now),
      checkNbf(claims, now), ...checkAge(claims, now), ...checkKind(claims), ...checkAddressees(claims),
    );
  }
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

/** Which keys there are may change: those of a provider are fetched. @param {Record<string, any>} header */
function checkAlgorithm({ alg, kid }) {
  const { algorithms, fetches_keys: fetches } = readPageData().token_rules;
  const key = kid === undefined ? '' : t('inspector.alg.key', { kid: toJson(kid) });
  if (algorithms.includes(alg)) return good(t('inspector.alg.good', { alg, key }));
  if (fetches && /^(RS|PS|ES)(256|384|512)$|^EdDSA$/.test(alg)) return warn(t('inspector.alg.fetched', { alg, key }));
  return bad(t('inspector.alg.bad', { alg: toJson(alg), algorithms: algorithms.join(', ') || '–' }));
}

/** @param {Record<string, any>} claims */
function checkUser(claims) {
  const [claim, id] = [readPageData().token_rules.claim_user, userOf(claims)];
  if (id === undefined) return bad(t('inspector.missing', { claim }));
  return isId(id) ? good(t('inspector.user.good', { id })) : bad(t('inspector.not_id', { claim, value: toJson(id) }));
}

/** @param {Record<string, any>} claims */
function checkName(claims) {
  const [{ claim_name: claim }, name] = [readPageData().token_rules, nameOf(claims)];
  if (name === undefined) return bad(t('inspector.missing', { claim }));
  if (claimAt(claims, claim) === undefined) return good(t('inspector.name.user', { claim }));
  if (typeof name !== 'string' || !name) return bad(t('inspector.name.bad', { claim, value: toJson(name) }));
  return good(t('inspector.name.good', { name }));
}

/** @param {Record<string, any>} claims */
function checkTenant(claims) {
  const id = tenantOf(claims);
  const claim = readPageData().token_rules.claim_tenant;
  if (id === undefined || id === null || id === '') return warn(t('inspector.tenant.none', { claim }));
  return isId(id) ? good(t('inspector.tenant.good', { id })) : bad(t('inspector.not_id', { claim, value: toJson(id) }));
}

/** @param {Record<string, any>} claims */
function checkSuperuser(claims) {
  const { claim_superuser: claim, superuser_value: wanted } = readPageData().token_rules;
  if (isSuperuser(claims)) return warn(t('inspector.superuser.yes'));
  const value = claimAt(claims, claim);
  if (value === undefined || value === false || wanted !== null) return good(t('inspector.superuser.no'));
  return warn(t('inspector.superuser.odd', { claim, value: toJson(value) }));
}

/**
 * @param {Record<string, any>} claims
 * @param {number} now
 */
function checkExp({ exp }, now) {
  const { leeway_s: leeway, require_exp: required } = readPageData().token_rules;
  if (exp === undefined) return required ? bad(t('inspector.exp.required')) : warn(t('inspector.exp.none'));
  if (typeof exp !== 'number') return bad(t('inspector.not_number', { claim: 'exp', value: toJson(exp) }));
  const ends = (exp + leeway) * 1000;
  const when = { time: formatTime(ends), age: formatDuration(Math.abs(ends - now)) };
  return ends > now ? good(t('inspector.exp.good', when)) : bad(t('inspector.exp.bad', when));
}

/**
 * @param {Record<string, any>} claims
 * @param {number} now
 */
function checkNbf({ nbf }, now) {
  if (nbf === undefined) return good(t('inspector.nbf.none'));
  if (typeof nbf !== 'number') return bad(t('inspector.not_number', { claim: 'nbf', value: toJson(nbf) }));
  const begins = (nbf - readPageData().token_rules.leeway_s) * 1000;
  return begins <= now ? good(t('inspector.nbf.good')) : bad(t('inspector.nbf.bad', { time: formatTime(begins) }));
}

/**
 * The maximum age, if there is one.
 * @param {Record<string, any>} claims
 * @param {number} now
 */
function checkAge({ iat }, now) {
  const { max_age_s: maxAge, leeway_s: leeway } = readPageData().token_rules;
  if (maxAge === null) return [];
  if (iat === undefined) return [bad(t('inspector.missing', { claim: 'iat' }))];
  if (typeof iat !== 'number') return [bad(t('inspector.not_number', { claim: 'iat', value: toJson(iat) }))];
  const ends = (iat + maxAge + leeway) * 1000;
  const when = { time: formatTime(ends), seconds: maxAge };
  return [ends > now ? good(t('inspector.age.good', when)) : bad(t('inspector.age.bad', when))];
}

/** Only access tokens are accepted. @param {Record<string, any>} claims */
function checkKind({ typ }) { return OTHER_TOKENS.includes(typ) ? [bad(t('inspector.kind.bad', { typ }))] : []; }

/** Issuer and audience: only the server knows the right values. @param {Record<string, any>} claims */
function checkAddressees(claims) {
  const { checks_issuer: issuer, checks_audience: audience } = readPageData().token_rules;
  const addressee = claims.aud === undefined && claims.azp !== undefined ? 'azp' : 'aud';
  const names = [...(issuer ? ['iss'] : []), ...(audience ? [addressee] : [])];
  return names.map((claim) => (claims[claim] === undefined ? bad(t('inspector.missing', { claim }))
    : { verdict: /** @type {const} */ ('unknown'), text: t('inspector.addressee', { claim, value: toJson(claims[claim]) }) }));
}

/** @param {unknown} value */
function isId(value) { return (typeof value === 'string' && value !== '') || typeof value === 'bigint' || Number.isInteger(value); }

/** The value as JSON, `–` if it is undefined. @param {unknown} value */
function toJson(value) { return JSON.stringify(value) ?? '–'; }
