/**
 * A signal that aborts a `fetch` after some time.
 *
 * `AbortSignal.timeout` does the same, but not in the oldest browsers that the console supports.
 * @param {number} ms
 */
export function timeLimit(ms) {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new DOMException('timed out', 'TimeoutError')), ms);
  return controller.signal;
}
