/** Asks Hermes itself what a token may open: by opening it for a moment. */

import { HermesClient } from '../../hermes-client.js';
import { explainClose } from '../connect/close-codes.js';
import { t } from '../strings.js';

/** @typedef {import('./token-checks.js').Check} Check */

const ANSWER_WITHIN_MS = 8_000;

/**
 * @param {string} path
 * @param {string} token
 * @returns {Promise<Check>}
 */
export function probe(path, token) {
  return new Promise((resolve) => {
    const client = new HermesClient({ url: path, getToken: (reason) => (reason === 'first' ? token : null), snapshot: false });
    /** @param {Check['verdict']} verdict @param {string} words */
    const end = (verdict, words) => {
      clearTimeout(timer);
      client.close();
      resolve({ verdict, words });
    };
    const timer = setTimeout(() => end('unknown', t('clinic.no_answer')), ANSWER_WITHIN_MS);
    // Accepted says nothing yet: a refusal comes as a close right after. The first answer does.
    client.on('rtt', (ms) => end('good', t('clinic.opened', { ms: ms.toFixed(1) })));
    client.on('state', ({ state, close }) => {
      if (state === 'refused') end('bad', close ? explainClose(close) : t('clinic.unusable'));
      else if (state === 'waiting' && close) end('unknown', explainClose(close));
    });
    client.connect();
  });
}
