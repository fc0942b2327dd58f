/**
 * Translate the error messages of hermes-client.js.
 *
 * The client itself reports in English.
 */

import { t } from '../lib/i18n.js';
import { explainClose } from '../lib/close-codes.js';

/** @typedef {import('../../hermes-client.js').HermesClient} HermesClient */

/** @type {Map<string, import('../lib/i18n.js').Key>} */
const KEY_OF_MESSAGE = new Map([
  ['the refused token was offered again', 'client_error.same_token'],
  ['there is no token', 'client_error.no_token'],
  ['there is no new token yet', 'client_error.no_new_token'],
  ['no answer in time', 'client_error.no_answer'],
  ['the heartbeat had no answer', 'client_error.heartbeat'],
  ['no socket can be made of this URL and token: look for stray characters', 'client_error.not_sendable'],
]);

/**
 * The message in the language of the page, or unchanged if it is not known.
 * @param {HermesClient} client
 * @param {string} message
 */
export function translateError({ status: { close } }, message) {
  const key = KEY_OF_MESSAGE.get(message);
  if (key) return t(key);
  return close && message.includes(String(close.code)) ? explainClose(close) : message;
}
