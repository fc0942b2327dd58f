/** The drill with a closed client: what is sent meanwhile must arrive once and in order when it comes back. */

import { formatNumber, t } from '../lib/i18n.js';
import { waitFor } from './drill-client.js';

/**
 * @typedef {import('./drill-context.js').DrillContext} DrillContext
 * @typedef {import('./drill-context.js').Outcome} Outcome
 * @typedef {import('./resuming-socket.js').ResumingSocket} ResumingSocket
 */

const MISSED = 5;
const ANSWER_TIMEOUT_MS = 10_000;
const TTL_S = 600; // if they cannot be withdrawn

/**
 * Stop a client, send notifications, and come back with its position.
 * @param {DrillContext} context
 * @returns {Promise<Outcome>}
 */
export async function closedClient(context) {
  const user = context.userId('inbox');
  const token = await context.token(user);
  const before = await resume(context, '0', token);
  const position = `${before.resumed?.epoch}:${before.resumed?.to}`;
  await before.close();
  const ids = context.newIds(MISSED + 1);
  const last = ids[MISSED];
  try {
    const reason = await send(context, user, ids.slice(0, MISSED));
    if (reason) return { passed: false, text: t('drills.result.not_stored', { reason }), figures: [] };
    const startedAt = performance.now();
    const after = await resume(context, position, token);
    await send(context, user, [last]);
    await waitFor(() => after.received.some(({ id }) => id === last), ANSWER_TIMEOUT_MS, t('drills.wait.last'));
    return evaluate(after, ids, performance.now() - startedAt);
  } finally {
    await Promise.allSettled(ids.map((id) => context.inboxApi.withdraw({ id, kind: 'user_id', recipient: user })));
  }
}

/** Open a socket and wait for the answer to its position. @param {DrillContext} context @param {string} position @param {string} token */
async function resume(context, position, token) {
  const socket = context.openResuming(position, token);
  await waitFor(() => socket.resumed || socket.end, ANSWER_TIMEOUT_MS, t('drills.wait.resumed'));
  if (!socket.resumed) throw new Error(socket.end);
  return socket;
}

/** Send them; why one was not stored, empty if all are. @param {DrillContext} context @param {string} user @param {string[]} ids */
async function send(context, user, ids) {
  const results = await context.devApi.send(ids.map((id, index) => (
    { user_id: user, id, title: t('drills.notification', { n: index + 1 }), message: '', type: 'info', ttl_s: TTL_S })));
  const failed = results.find(({ stored }) => !stored);
  return failed ? failed.reason ?? failed.error?.message ?? 'stored: false' : '';
}

/**
 * The last one is sent after the return, so whatever was missed is there before it.
 * @param {ResumingSocket} socket
 * @param {string[]} ids  in the order in which they were sent
 * @param {number} took  ms
 * @returns {Outcome}
 */
function evaluate({ resumed, received }, ids, took) {
  const own = received.filter(({ id }) => ids.includes(id));
  const lost = ids.filter((id) => own.every((each) => each.id !== id)).length;
  const duplicated = own.length - new Set(own.map(({ id }) => id)).size;
  const disorder = own.filter(({ id, seq }, index) => id !== ids[index] || (index > 0 && seq <= own[index - 1].seq)).length;
  const replayed = own.filter((each) => each.replayed).length;
  return {
    passed: !lost && !duplicated && !disorder && replayed === MISSED && resumed?.gap === false,
    text: t('drills.result.inbox', { n: formatNumber(MISSED) }),
    figures: [
      [t('drills.figure.replayed'), `${formatNumber(replayed)} (${formatNumber(took)} ms)`], [t('drills.figure.lost'), formatNumber(lost)],
      [t('drills.figure.duplicated'), formatNumber(duplicated)], [t('drills.figure.disorder'), formatNumber(disorder)],
    ],
  };
}
