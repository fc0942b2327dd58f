/** Drills with one socket: after each fault the client must reconnect and then lose no notification. */

import { formatNumber, t } from '../lib/i18n.js';
import { delay, waitFor } from './drill-client.js';
import { RECONNECT_TIMEOUT_MS } from './drill-context.js';

/**
 * @typedef {import('./drill-context.js').DrillContext} DrillContext
 * @typedef {import('./drill-context.js').Outcome} Outcome
 * @typedef {import('./drill-client.js').DrillClient} DrillClient
 */

const NOTIFICATIONS_SENT = 20;
const NOTIFICATIONS_PATH = 'ws/notifications';
const SHORT_LIFETIME_S = 3;
const SHORT_HEARTBEAT = { pingEveryMs: 1_500, pongWithinMs: 1_500 };
const HOLD_S = 6;
const FAULT_TIMEOUT_MS = 5_000;

/**
 * End a socket by a fault; the client must see the expected close code.
 * @param {'drop' | 'internal_error' | 'restart'} fault
 * @param {number} code
 */
export function socketEnd(fault, code) {
  return async (/** @type {DrillContext} */ context) => {
    const user = context.userId(fault);
    const token = await context.token(user);
    const drill = await context.openClient(NOTIFICATIONS_PATH, () => token);
    const before = await context.sendNotifications(drill, user, NOTIFICATIONS_SENT);
    const startedAt = performance.now();
    await context.injectFault(fault, { user_id: user });
    return evaluate(context, { drill, user, startedAt, code, reasonPrefix: fault === 'restart' ? 'stopping;retry_ms=' : '', before });
  };
}

/** Let the token expire: the socket closes with 1008, then the client asks for a new token. @param {DrillContext} context */
export async function expiry(context) {
  const user = context.userId('expiry');
  let tokenRequests = 0;
  const drill = await context.openClient(NOTIFICATIONS_PATH, (reason) => {
    if (reason === 'expiring') return null;
    tokenRequests += 1;
    return context.token(user, { ttlS: reason === 'first' ? SHORT_LIFETIME_S : undefined });
  });
  const before = await context.sendNotifications(drill, user, NOTIFICATIONS_SENT);
  const outcome = await evaluate(context, { drill, user, startedAt: performance.now(), code: 1008, reasonPrefix: 'token_expired', before });
  return { ...outcome, passed: outcome.passed && tokenRequests === 2 };
}

/** Refresh the token before it expires: the socket must stay open. @param {DrillContext} context */
export async function refresh(context) {
  const user = context.userId('refresh');
  let tokenRequests = 0;
  const drill = await context.openClient(NOTIFICATIONS_PATH, () => context.token(user, { ttlS: (tokenRequests += 1) === 1 ? SHORT_LIFETIME_S : undefined }));
  const startedAt = performance.now();
  await delay((SHORT_LIFETIME_S + 2) * 1_000);
  const { lost, duplicated } = await context.sendNotifications(drill, user, NOTIFICATIONS_SENT);
  const closes = drill.since(startedAt).filter(({ status }) => status.state !== 'open').length;
  return {
    passed: !closes && tokenRequests === 2 && !lost && !duplicated,
    text: t(closes ? 'drills.result.closed' : 'drills.result.kept'),
    figures: counts({ lost, duplicated }),
  };
}

/** Delay the pong of the server: the client must notice and reconnect. @param {DrillContext} context */
export async function latePong(context) {
  const user = context.userId('pong');
  const token = await context.token(user);
  const drill = await context.openClient(NOTIFICATIONS_PATH, () => token, SHORT_HEARTBEAT);
  const before = await context.sendNotifications(drill, user, NOTIFICATIONS_SENT);
  const startedAt = performance.now();
  await context.injectFault('hold', { user_id: user, seconds: HOLD_S });
  return evaluate(context, { drill, user, startedAt, code: 1006, reasonPrefix: '', before });
}

/**
 * Check the close code, the reconnect, and that nothing sent after it is lost or duplicated.
 * @param {DrillContext} context
 * @param {{drill: DrillClient, user: string, startedAt: number, code: number, reasonPrefix: string, before: {lost: number, duplicated: number}}} run
 * @returns {Promise<Outcome>}
 */
async function evaluate(context, { drill, user, startedAt, code, reasonPrefix, before }) {
  const lost = await waitFor(() => drill.since(startedAt).find(({ status }) => status.state !== 'open'), FAULT_TIMEOUT_MS, t('drills.wait.end'));
  const back = await waitFor(() => drill.since(lost.at).find(({ status }) => status.state === 'open'), RECONNECT_TIMEOUT_MS, t('drills.wait.return'));
  const after = await context.sendNotifications(drill, user, NOTIFICATIONS_SENT);
  const seen = lost.status.close?.code ?? 0;
  const figures = { lost: before.lost + after.lost + after.unsent, duplicated: before.duplicated + after.duplicated };
  const reason = lost.status.close?.reason ?? '';
  const hint = /retry_ms=(\d+)/.exec(reason);
  const early = hint ? back.at - lost.at < Number(hint[1]) * 0.95 : false; // timers may fire a little early
  return {
    passed: seen === code && reason.startsWith(reasonPrefix) && !figures.lost && !figures.duplicated && !early,
    text: t('drills.result.code', { code: [seen, lost.status.close?.reason].filter(Boolean).join(' ') }),
    figures: [
      [t('drills.figure.noticed'), `${formatNumber(lost.at - startedAt)} ms`],
      [t('drills.figure.recovered'), `${formatNumber(back.at - lost.at)} ms`],
      ...counts(figures),
    ],
  };
}

/** @param {{lost: number, duplicated: number}} figures @returns {[string, string][]} */
function counts({ lost, duplicated }) {
  return [[t('drills.figure.lost'), formatNumber(lost)], [t('drills.figure.duplicated'), formatNumber(duplicated)]];
}
