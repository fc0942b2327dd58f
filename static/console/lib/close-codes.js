/** Explain WebSocket close codes and reasons to an operator. The table is in docs/protocol.md. */

import { t, tOptional } from './i18n.js';

/** @typedef {import('../../hermes-client-types.js').Close} Close */

/** The code before the hints: `stopping` of `stopping;retry_ms=800`. @param {Close} close */
export function reasonCode(close) { return close.reason.split(';')[0]; }

/** @param {Close} close */
export function explainClose(close) {
  const code = reasonCode(close);
  const text = tOptional(`close.${code}`) ?? tOptional(`close.${close.code}`) ?? t('close.unknown');
  return `${[close.code, code].join(' ').trim()}: ${text}`;
}

/** Suggest what to do after a rejection. @param {Close | null} close  null if no usable token was sent */
export function explainRefusal(close) {
  if (!close) return t('connect.refused.no_token');
  const code = reasonCode(close) || String(close.code);
  return code === 'too_many_errors' ? t('connect.refused.errors') : t('connect.refused.token', { code });
}
