/** What a client says of itself, in the page's language. The client speaks English, as its log does. */

import { t } from '../strings.js';
import { explainClose } from './close-codes.js';

/** @typedef {import('../../hermes-client.js').HermesClient} HermesClient */

/** @type {Map<string, import('../strings.js').Key>} */
const KEYS = new Map([
  ['the refused token was offered again', 'fault.same_token'],
  ['there is no token', 'fault.no_token'],
  ['there is no new token yet', 'fault.no_new_token'],
  ['no answer in time', 'fault.no_answer'],
  ['the heartbeat had no answer', 'fault.heartbeat'],
  ['no socket can be made of this URL and token: look for stray characters', 'fault.stray'],
]);

/**
 * @param {HermesClient} client
 * @param {string} message
 */
export function faultWords({ status: { close } }, message) {
  const key = KEYS.get(message);
  if (key) return t(key);
  return close && message.includes(String(close.code)) ? explainClose(close) : message;
}
