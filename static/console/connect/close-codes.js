/** Close codes and reasons, explained to an operator. The table itself is in docs/protocol.md. */

import { maybe, t } from '../strings.js';

/** @typedef {import('../../hermes-client-types.js').Close} Close */

/** The machine word that begins a reason. @param {Close} close */
export function reasonWord(close) { return close.reason.split(';')[0]; }

/** @param {Close} close */
export function explainClose(close) {
  const word = reasonWord(close);
  const words = maybe(`close.${word}`) ?? maybe(`close.${close.code}`) ?? t('close.unknown');
  return `${[close.code, word].join(' ').trim()}: ${words}`;
}

/** What to do about a refusal. @param {Close | null} close */
export function explainRefusal(close) {
  if (!close) return t('connect.refused.no_token');
  const word = reasonWord(close) || String(close.code);
  return word === 'too_many_errors' ? t('connect.refused.errors') : t('connect.refused.token', { word });
}
