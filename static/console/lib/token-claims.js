/**
 * Decode the claims of a JWT, without checking its signature.
 *
 * Only the server can check it, so the claims may be false.
 */

import { formatTime } from './format-time.js';
import { t } from './i18n.js';
import { readPageData } from './page-data.js';

/**
 * @param {string} token
 * @returns {Record<string, any> | null}  null if it is not a JWT
 */
export function claimsOf(token) { return decodeJsonPart(token.split('.')[1] ?? ''); }

/** The tenant id, or what the claims have in its place. @param {Record<string, any>} claims */
export function tenantOf(claims) { return claims[readPageData().token_rules.claim_tenant]; }

/**
 * Decode the header or the claims of a JWT.
 * @param {string} part  base64url (RFC 7515 §2)
 * @returns {Record<string, any> | null}  null if it is not a JSON object
 */
export function decodeJsonPart(part) {
  try {
    const value = JSON.parse(decodeBase64Url(part));
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
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
    user: claims.user_id ?? '?', name: claims.username ?? '?', expiry: describeExpiry(claims.exp),
    tenant: claims.is_superuser === true ? t('token.superuser', { tenant }) : tenant,
  });
}

/** @param {unknown} exp  Unix seconds */
function describeExpiry(exp) {
  if (exp === undefined) return t('token.never');
  if (typeof exp !== 'number') return t('token.bad_expiry');
  return t(exp * 1000 < Date.now() ? 'token.expired' : 'token.expires', { time: formatTime(exp * 1000) });
}
