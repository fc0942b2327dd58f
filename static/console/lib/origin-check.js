/**
 * Find out whether Hermes refuses the sockets of this page because of its address.
 *
 * A browser tells a page only that the connection failed (1006), not the 403 and its explanation. A POST to the same path
 * has the same `Origin`, and its answer can be read.
 */

import { timeLimit } from './time-limit.js';

const TIMEOUT_MS = 4_000;

/**
 * The explanation of Hermes; empty if this is not the reason.
 * @param {string} path  of a socket
 * @returns {Promise<string>}
 */
export async function originRefusal(path) {
  try {
    const response = await fetch(path, { method: 'POST', cache: 'no-store', signal: timeLimit(TIMEOUT_MS) });
    const { error } = response.status === 403 ? await response.json() : { error: null };
    return error?.code === 'origin_refused' ? String(error.message) : '';
  } catch { // not reachable, or an answer of a proxy
    return '';
  }
}
