/**
 * Translate the error messages of hermes-client.js.
 *
 * The client itself reports in English.
 */

import { explainClose } from '../lib/close-codes.js';
import { t } from '../lib/i18n.js';

/** @typedef {import('../../hermes-client.js').HermesClient} HermesClient */

/** @type {Map<string, import('../lib/i18n.js').Key>} */
const KEY_OF_MESSAGE = new Map([
  ['getToken returned the refused token again', 'client_error.same_token'],
  ['getToken returned no token', 'client_error.no_token'],
  ['getToken returned no new token', 'client_error.no_new_token'],
  ['no token or handshake in time', 'client_error.no_answer'],
  ['no pong in time', 'client_error.heartbeat'],
  ['cannot open a socket with this URL and token: check for invalid characters', 'client_error.not_sendable'],
  ['the browser blocks this URL: a page loaded over https needs wss://', 'client_error.insecure_url'],
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
