/** A token's claims as it states them; only the server can tell whether they are true. */

import { t } from '../strings.js';
import { clockWords } from '../time-words.js';

/**
 * @param {string} token
 * @returns {Record<string, any> | null}
 */
export function claimsOf(token) {
  try {
    const value = JSON.parse(textOf(token.split('.')[1]));
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch {
    return null;
  }
}

/** A JWT's part, decoded; throws where it is none. @param {string} part  base64url (RFC 7515 §2) */
export function textOf(part) {
  const bytes = Uint8Array.from(atob(part.replaceAll('-', '+').replaceAll('_', '/')), (each) => each.charCodeAt(0));
  return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
}

/** One sentence on whose token it is. @param {string} token */
export function tokenWords(token) {
  if (!token) return t('token.none');
  const claims = claimsOf(token);
  if (!claims) return t('token.not_jwt');
  const tenant = claims.tenant_id === undefined ? t('token.no_tenant') : t('token.tenant', { tenant: claims.tenant_id });
  return t('token.says', {
    user: claims.user_id, name: claims.username, expiry: expiryWords(claims.exp),
    tenant: claims.is_superuser === true ? t('token.superuser', { tenant }) : tenant,
  });
}

/** @param {unknown} exp  Unix seconds */
export function expiryWords(exp) {
  if (exp === undefined) return t('token.never');
  if (typeof exp !== 'number') return t('token.bad_expiry');
  return t(exp * 1000 < Date.now() ? 'token.expired' : 'token.expires', { time: clockWords(exp * 1000) });
}
