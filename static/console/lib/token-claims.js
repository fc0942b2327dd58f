/**
 * Decode the claims of a JWT, without checking its signature.
 *
 * Only the server can check it, so the claims may be false.
 */

import { membersOf } from '../../hermes-client.js';
import { formatTime } from './format-time.js';
import { t } from './i18n.js';
import { textAt } from './json-text.js';
import { readPageData } from './page-data.js';

/**
 * @param {string} token
 * @returns {Record<string, any> | null}  null if it is not a JWT
 */
export function claimsOf(token) { return decodeJsonPart(token.split('.')[1] ?? ''); }

/**
 * The claims as the token has them: numbers with all digits, and a repeated name twice.
 * @param {string} token
 * @returns {[string, string][]}  name and JSON
 */
export function claimTextsOf(token) {
  const part = token.split('.')[1] ?? '';
  return decodeJsonPart(part) ? membersOf(decodeBase64Url(part)).map(([name, text]) => [name, text.startsWith('"') ? JSON.stringify(JSON.parse(text)) : text]) : [];
}

/**
 * The claim of that whole name, else of a path of keys by dots, as Hermes reads it.
 * @param {Record<string, any>} claims
 * @param {string} name
 * @returns {any}  undefined if there is none
 */
export function claimAt(claims, name) {
  if (Object.hasOwn(claims, name)) return claims[name];
  for (let end = name.indexOf('.'); end >= 0; end = name.indexOf('.', end + 1)) {
    const key = name.slice(0, end);
    const inner = Object.hasOwn(claims, key) ? claims[key] : undefined;
    if (!inner || typeof inner !== 'object' || Array.isArray(inner)) continue;
    const value = claimAt(inner, name.slice(end + 1));
    if (value !== undefined && value !== null) return value;
  }
  return undefined;
}

/** The user id, or what the claims have in its place. @param {Record<string, any>} claims */
export function userOf(claims) { return claimAt(claims, readPageData().token_rules.claim_user); }

/** The user's name, or what is shown in its place. @param {Record<string, any>} claims */
export function nameOf(claims) {
  const { claim_name: claim, name_required: required } = readPageData().token_rules;
  return claimAt(claims, claim) ?? (required ? undefined : userOf(claims));
}

/** The tenant id, or what the claims have in its place. @param {Record<string, any>} claims */
export function tenantOf(claims) { return claimAt(claims, readPageData().token_rules.claim_tenant); }

/** Whether the claims make a superuser. @param {Record<string, any>} claims */
export function isSuperuser(claims) {
  const { claim_superuser: claim, superuser_value: wanted } = readPageData().token_rules;
  const value = claimAt(claims, claim);
  return wanted === null ? value === true : value === wanted || (Array.isArray(value) && value.includes(wanted));
}

/**
 * Decode the header or the claims of a JWT.
 * @param {string} part  base64url (RFC 7515 §2)
 * @returns {Record<string, any> | null}  null if it is not a JSON object
 */
export function decodeJsonPart(part) {
  try {
    const text = decodeBase64Url(part);
    const value = JSON.parse(text);
    return value && typeof value === 'object' && !Array.isArray(value) ? withExactIds(value, text) : null;
  } catch {
    return null;
  }
}

/**
 * Replace ids that are large integers by a BigInt: a number would be another id.
 * @param {Record<string, any>} claims
 * @param {string} text
 */
function withExactIds(claims, text) {
  const { claim_user: user, claim_tenant: tenant } = readPageData().token_rules;
  for (const name of [user, tenant]) {
    const path = Object.hasOwn(claims, name) ? [name] : name.split('.');
    const id = textAt(text, path) ?? '';
    const owner = path.slice(0, -1).reduce((value, key) => value?.[key], claims);
    if (owner && /^-?\d{16,}$/.test(id)) owner[path[path.length - 1]] = BigInt(id);
  }
  return claims;
}

/** Throws if the part is not base64url of UTF-8 text. @param {string} part */
function decodeBase64Url(part) {
  const bytes = Uint8Array.from(atob(part.replaceAll('-', '+').replaceAll('_', '/')), (each) => each.charCodeAt(0));
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

/** Describe the owner and the expiry of a token in one sentence. @param {string} token */
export function describeToken(token) {
  if (!token) return t('token.none');
  const claims = claimsOf(token);
  if (!claims) return t('token.not_jwt');
  const tenant = tenantOf(claims) ? t('token.tenant', { tenant: tenantOf(claims) }) : t('token.no_tenant'); // null and '' too
  return t('token.summary', {
    user: userOf(claims) ?? '?', name: nameOf(claims) ?? '?', expiry: describeExpiry(claims.exp),
    tenant: isSuperuser(claims) ? t('token.superuser', { tenant }) : tenant,
  });
}

/** @param {unknown} exp  Unix seconds */
function describeExpiry(exp) {
  if (exp === undefined) return t('token.never');
  if (typeof exp !== 'number') return t('token.bad_expiry');
  return t(exp * 1000 < Date.now() ? 'token.expired' : 'token.expires', { time: formatTime(exp * 1000) });
}
