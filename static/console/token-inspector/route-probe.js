/** Check whether a token may open a route, by opening a socket for a moment. */

import { HermesClient } from '../../hermes-client.js';
import { explainClose } from '../lib/close-codes.js';
import { t } from '../lib/i18n.js';
import { originRefusal } from '../lib/origin-check.js';

/** @typedef {import('./token-checks.js').Check} Check */

const TIMEOUT_MS = 8_000;

/**
 * Open a socket and close it at the first answer.
 * @param {string} path
 * @param {string} token
 * @returns {Promise<Check>}
 */
export function probeRoute(path, token) {
  return new Promise((resolve) => {
    const client = new HermesClient({ url: path, getToken: (reason) => (reason === 'first' ? token : null), snapshot: false, resume: false, retryRefusedMs: 0 });
    /** @param {Check['verdict']} verdict @param {string} text */
    const finish = (verdict, text) => {
      clearTimeout(timer);
      client.close();
      resolve({ verdict, text });
    };
    const timer = setTimeout(() => finish('unknown', t('inspector.no_answer')), TIMEOUT_MS);
    // An accepted handshake is not enough: a rejection comes as a close frame right after it. A pong is.
    client.on('rtt', (ms) => finish('good', t('inspector.opened', { ms: ms.toFixed(1) })));
    client.on('state', ({ state, close }) => {
      if (state === 'refused') finish('bad', close ? explainClose(close) : t('inspector.not_sendable'));
      else if (state === 'waiting' && close?.code === 1006) {
        originRefusal(path).then((reason) => (
          reason ? finish('bad', t('connect.origin_refused', { reason })) : finish('unknown', explainClose(close))));
      } else if (state === 'waiting' && close) finish('unknown', explainClose(close));
    });
    client.connect();
  });
}
