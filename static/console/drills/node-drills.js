/** Drills on more than one socket: many clients at once, one that does not read, the broker gone, a burst of notices. */

import { number, t } from '../strings.js';
import { pause, until } from './drill-client.js';

/**
 * @typedef {import('./workshop.js').Workshop} Workshop
 * @typedef {import('./workshop.js').Outcome} Outcome
 * @typedef {import('./drill-client.js').DrillClient} DrillClient
 */

const TENANT = 'acme'; // whose simulated devices speak in --dev
const TENANT_PATH = `/ws/tenant/${TENANT}`;
const CLIENTS = 200;
const CROWD = 100; // while they move, the sockets that they leave count as well, and Chromium allows a page 255
const OPEN_WITHIN_MS = 30_000;
const SPREAD_MS = 3_000; // no retry_ms of so few clients is longer
const HOLD_S = 5;
const AFTERWARDS_MS = 2_500;
const DATA_WITHIN_MS = 5_000;
const BROKER_WITHIN_MS = 30_000;
const BURST = 100;

/** A burst of notifications to one open socket: all of them, once. @param {Workshop} shop @returns {Promise<Outcome>} */
export async function burst(shop) {
  const user = shop.person('burst');
  const token = await shop.token(user);
  const drill = await shop.open('/ws/notifications', () => token);
  const { lost, doubled, unsent, took } = await shop.tell(drill, user, BURST);
  return {
    passed: !lost && !doubled && !unsent,
    words: t('drills.saw.burst', { n: number(BURST), ms: number(took) }),
    figures: [[t('drills.figure.lost'), number(lost + unsent)], [t('drills.figure.doubled'), number(doubled)]],
  };
}

/**
 * Hundreds of clients are told that Hermes restarts, and come back at once.
 * @param {boolean} byServer  else they leave by themselves
 */
export function storm(byServer) {
  return async (/** @type {Workshop} */ shop) => {
    const user = shop.person('storm');
    const token = await shop.token(user);
    const count = byServer ? CLIENTS : CROWD;
    const clients = Array.from({ length: count }, () => shop.make('/ws/notifications', () => token));
    const all = () => clients.every(({ open }) => open);
    const made = performance.now();
    await until(all, OPEN_WITHIN_MS, t('drills.what.all_open'));
    const began = performance.now();
    if (byServer) await shop.cause('restart', { user_id: user });
    else for (const { client } of clients) { client.close(); client.connect(); }
    await until(() => clients.every((each) => each.since(began).some(({ status }) => status.state !== 'open')), OPEN_WITHIN_MS, t('drills.what.end'));
    await until(all, OPEN_WITHIN_MS, t('drills.what.all_open'));
    const back = clients.map((each) => each.changes[each.changes.length - 1].at - began).sort((one, other) => one - other);
    const waits = clients.reduce((sum, each) => sum + each.since(began).filter(({ status }) => status.state === 'waiting').length, 0);
    const failed = waits - (byServer ? count : 0); // whoever is sent away waits once
    const [last] = back.slice(-1);
    return {
      passed: last < SPREAD_MS + 2 * (began - made) + 3_000 && !failed, // browsers open many sockets one after the other
      words: t('drills.saw.all_back', { n: number(count), ms: number(last) }),
      figures: /** @type {[string, string][]} */ ([
        [t('drills.figure.median'), `${number(back[count / 2])} ms`], [t('drills.figure.last'), `${number(last)} ms`],
        [t('drills.figure.failed'), number(failed)],
      ]),
    };
  };
}

/** One socket does not read, another does: the second must not notice, the first must get it all told. @param {Workshop} shop @returns {Promise<Outcome>} */
export async function frozenReader(shop) {
  const [frozen, healthy] = await Promise.all(['frozen', 'healthy'].map(async (role) => {
    const token = await shop.token(shop.person(role), { tenantId: TENANT });
    return shop.open(TENANT_PATH, () => token, { snapshot: false });
  }));
  await until(() => frozen.devices.length && healthy.devices.length, DATA_WITHIN_MS, t('drills.what.data'));
  const began = performance.now();
  await shop.cause('hold', { user_id: shop.person('frozen'), seconds: HOLD_S });
  await pause(HOLD_S * 1_000 + AFTERWARDS_MS);
  const held = healthy.devices.filter(({ at }) => at >= began && at < began + HOLD_S * 1_000);
  const gap = longestGap([began, ...held.map(({ at }) => at), began + HOLD_S * 1_000]);
  const leaked = frozen.devices.filter(({ at }) => at >= began + 500 && at < began + HOLD_S * 900).length;
  const skipped = frozen.devices.reduce((sum, { frame }) => sum + (frame.skipped ?? 0), 0);
  const missing = unaccounted(frozen, healthy);
  return {
    passed: !missing && !leaked && held.length > 0 && frozen.open && frozen.changes.length === healthy.changes.length,
    words: t('drills.saw.frozen', { n: number(held.length), gap: number(gap) }),
    figures: [
      [t('drills.figure.skipped'), number(skipped)], [t('drills.figure.lost'), number(missing)],
    ],
  };
}

/**
 * Received plus skipped is what was published: of each series between its first and last frame on the frozen socket,
 * how many of those that the healthy one got are neither.
 * @param {DrillClient} frozen
 * @param {DrillClient} healthy
 */
function unaccounted(frozen, healthy) {
  const published = bySeries(healthy);
  let missing = 0;
  for (const [key, frames] of bySeries(frozen)) {
    const [first, last] = [frames[0].timestamp, frames[frames.length - 1].timestamp];
    const all = published.get(key) ?? [];
    const isOnce = (/** @type {number} */ at) => all.filter(({ timestamp }) => timestamp === at).length === 1;
    if (!isOnce(first) || !isOnce(last)) continue; // several of one millisecond: nobody can tell where they begin
    const told = frames.slice(1).reduce(withSkipped, 0);
    const sent = all.filter(({ timestamp }) => timestamp > first && timestamp <= last).reduce(withSkipped, 0);
    missing += Math.abs(sent - told);
  }
  return missing;
}

/** Itself, and those that it stands for. @param {number} sum @param {import('../../hermes-client.js').Frame} frame */
function withSkipped(sum, { skipped }) { return sum + 1 + (skipped ?? 0); }

/** @param {DrillClient} client */
function bySeries({ devices }) {
  /** @type {Map<string, import('../../hermes-client-types.js').Frame[]>} */
  const found = new Map();
  for (const { frame } of devices) {
    const key = `${frame.device_id}\u0000${frame.series}`;
    const frames = found.get(key);
    if (frames) frames.push(frame);
    else found.set(key, [frame]);
  }
  return found;
}

/** @param {number[]} moments */
function longestGap(moments) { return Math.max(...moments.slice(1).map((at, place) => at - moments[place])); }

/** The broker is killed: open sockets must be told so, and told of its return, and data must flow again. @param {Workshop} shop @returns {Promise<Outcome>} */
export async function broker(shop) {
  const token = await shop.token(shop.person('broker'), { tenantId: TENANT });
  const drill = await shop.open(TENANT_PATH, () => token);
  /** @type {{at: number, up: boolean}[]} */
  const told = [];
  drill.client.on('link', ({ up }) => told.push({ at: performance.now(), up }));
  await until(() => drill.devices.some(({ frame }) => !frame.snapshot), DATA_WITHIN_MS, t('drills.what.data'));
  const began = performance.now();
  await shop.doors.cause('broker');
  const down = await until(() => told.find(({ up }) => !up), BROKER_WITHIN_MS, t('drills.what.down'));
  const up = await until(() => told.find((each) => each.up && each.at > down.at), BROKER_WITHIN_MS, t('drills.what.up'));
  const data = await until(() => drill.devices.find(({ at }) => at > up.at), BROKER_WITHIN_MS, t('drills.what.data'));
  return {
    passed: drill.open && !drill.since(began).length,
    words: t('drills.saw.broker'),
    figures: [
      [t('drills.figure.told_down'), `${number(down.at - began)} ms`], [t('drills.figure.told_up'), `${number(up.at - began)} ms`],
      [t('drills.figure.data'), `${number(data.at - began)} ms`],
    ],
  };
}

