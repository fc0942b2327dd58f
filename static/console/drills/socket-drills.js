/** Drills on one socket: it breaks, is closed, is held still; the client must come back and lose nothing after that. */

import { number, t } from '../strings.js';
import { pause, until } from './drill-client.js';
import { RETURN_WITHIN_MS } from './workshop.js';

/**
 * @typedef {import('./workshop.js').Workshop} Workshop
 * @typedef {import('./workshop.js').Outcome} Outcome
 * @typedef {import('./drill-client.js').DrillClient} DrillClient
 */

const NOTICES = 20;
const NOTIFICATIONS = '/ws/notifications';
const SHORT_LIFE_S = 3;
const PATIENCE = { pingEveryMs: 1_500, pongWithinMs: 1_500 };
const HOLD_S = 6;
const CAUSED_WITHIN_MS = 5_000;

/**
 * One of the faults that end a socket, with the code that it must be seen to end with.
 * @param {'drop' | 'internal_error' | 'restart'} fault
 * @param {number} code
 */
export function ending(fault, code) {
  return async (/** @type {Workshop} */ shop) => {
    const user = shop.person(fault);
    const token = await shop.token(user);
    const drill = await shop.open(NOTIFICATIONS, () => token);
    const before = await shop.tell(drill, user, NOTICES);
    const began = performance.now();
    await shop.cause(fault, { user_id: user });
    return judge(shop, { drill, user, began, code, word: fault === 'restart' ? 'stopping;retry_ms=' : '', before });
  };
}

/** The token runs out, the application has no new one in time: 1008, then a new one on being asked. @param {Workshop} shop */
export async function expiry(shop) {
  const user = shop.person('expiry');
  let asked = 0;
  const drill = await shop.open(NOTIFICATIONS, (reason) => {
    if (reason === 'expiring') return null;
    asked += 1;
    return shop.token(user, { ttlS: reason === 'first' ? SHORT_LIFE_S : undefined });
  });
  const before = await shop.tell(drill, user, NOTICES);
  const outcome = await judge(shop, { drill, user, began: performance.now(), code: 1008, word: 'token_expired', before });
  return { ...outcome, passed: outcome.passed && asked === 2 };
}

/** The token runs out, but a new one is handed in before: the socket stays. @param {Workshop} shop */
export async function refresh(shop) {
  const user = shop.person('refresh');
  let lives = 0;
  const drill = await shop.open(NOTIFICATIONS, () => shop.token(user, { ttlS: (lives += 1) === 1 ? SHORT_LIFE_S : undefined }));
  const began = performance.now();
  await pause((SHORT_LIFE_S + 2) * 1_000);
  const { lost, doubled } = await shop.tell(drill, user, NOTICES);
  const endings = drill.since(began).filter(({ status }) => status.state !== 'open').length;
  return {
    passed: !endings && lives === 2 && !lost && !doubled,
    words: t(endings ? 'drills.saw.closed' : 'drills.saw.kept'),
    figures: counts({ lost, doubled }),
  };
}

/** The server's pong comes too late: the client must notice, and make the connection anew. @param {Workshop} shop */
export async function latePong(shop) {
  const user = shop.person('pong');
  const token = await shop.token(user);
  const drill = await shop.open(NOTIFICATIONS, () => token, PATIENCE);
  const before = await shop.tell(drill, user, NOTICES);
  const began = performance.now();
  await shop.cause('hold', { user_id: user, seconds: HOLD_S });
  return judge(shop, { drill, user, began, code: 1006, word: '', before });
}

/**
 * What all of them are judged by: the code, the return, and that nothing sent after the return is lost or doubled.
 * @param {Workshop} shop
 * @param {{drill: DrillClient, user: string, began: number, code: number, word: string, before: {lost: number, doubled: number}}} course
 * @returns {Promise<Outcome>}
 */
async function judge(shop, { drill, user, began, code, word, before }) {
  const lost = await until(() => drill.since(began).find(({ status }) => status.state !== 'open'), CAUSED_WITHIN_MS, t('drills.what.end'));
  const back = await until(() => drill.since(lost.at).find(({ status }) => status.state === 'open'), RETURN_WITHIN_MS, t('drills.what.return'));
  const after = await shop.tell(drill, user, NOTICES);
  const seen = lost.status.close?.code ?? 0;
  const figures = { lost: before.lost + after.lost + after.unsent, doubled: before.doubled + after.doubled };
  const reason = lost.status.close?.reason ?? '';
  const hint = /retry_ms=(\d+)/.exec(reason);
  const early = hint ? back.at - lost.at < Number(hint[1]) * 0.95 : false; // timers may fire a moment early
  return {
    passed: seen === code && reason.startsWith(word) && !figures.lost && !figures.doubled && !early,
    words: t('drills.saw.code', { code: [seen, lost.status.close?.reason].filter(Boolean).join(' ') }),
    figures: [
      [t('drills.figure.noticed'), `${number(lost.at - began)} ms`],
      [t('drills.figure.recovered'), `${number(back.at - lost.at)} ms`],
      ...counts(figures),
    ],
  };
}

/** @param {{lost: number, doubled: number}} figures @returns {[string, string][]} */
function counts({ lost, doubled }) {
  return [[t('drills.figure.lost'), number(lost)], [t('drills.figure.doubled'), number(doubled)]];
}
