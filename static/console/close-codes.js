/** Close codes and reasons, explained to an operator. The table itself is in docs/protocol.md. */

/** @typedef {import('../hermes-client.js').Close} Close */

/** @type {Map<number, string>} */
const CODE_WORDS = new Map([
  [1000, 'closed normally'],
  [1001, 'Hermes was stopped or restarted'],
  [1003, 'Hermes takes no binary frames'],
  [1006, 'the connection broke or could not be made: Hermes, the network or a proxy is gone, or refuses this origin'],
  [1008, 'refused'],
  [1009, 'a message to Hermes was too big'],
  [1011, 'an internal error: the log of Hermes says more'],
  [1013, 'try again later'],
]);

/** @type {Map<string, string>} */
const REASON_WORDS = new Map([
  ['token_missing', 'no token came along'],
  ['token_invalid', 'the token is broken, signed with another key, or lacks a claim'],
  ['token_expired', 'the token has expired'],
  ['forbidden', 'the token is good, but not for this socket'],
  ['too_many_errors', 'this page sent too many bad messages'],
  ['slow_consumer', 'this browser did not read fast enough'],
  ['server_full', 'Hermes has all the sockets that it can serve'],
]);

/** The machine word that begins a reason. @param {Close} close */
export function reasonWord(close) { return close.reason.split(';')[0]; }

/** @param {Close} close */
export function explainClose(close) {
  const word = reasonWord(close);
  const words = REASON_WORDS.get(word) ?? CODE_WORDS.get(close.code) ?? 'a code that Hermes does not send';
  return `${[close.code, word].join(' ').trim()}: ${words}`;
}

/** What to do about a refusal. @param {Close | null} close */
export function explainRefusal(close) {
  if (!close) return 'no usable token: paste one above';
  const word = reasonWord(close) || String(close.code);
  if (word === 'too_many_errors') return 'refused (too_many_errors): connect again to retry';
  return `token refused (${word}): paste a new one`;
}
