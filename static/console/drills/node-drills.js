/** Drills with several sockets: reconnect storm, slow reader, broker outage, burst of notifications. */

import { formatNumber, t } from '../lib/i18n.js';
import { delay, waitFor } from './drill-client.js';

/**
 * @typedef {import('../../hermes-client.js').DeviceFrame} DeviceFrame
 * @typedef {import('./drill-context.js').DrillContext} DrillContext
 * @typedef {import('./drill-context.js').Outcome} Outcome
 * @typedef {import('./drill-client.js').DrillClient} DrillClient
 */

const TENANT = 'acme'; // of the simulated devices in --dev
const TENANT_PATH = `ws/tenant/${TENANT}`;
const CLIENTS = 200;
const PAGE_CLIENTS = 100; // old and new sockets count together, and Chromium allows 255 for a page
const OPEN_TIMEOUT_MS = 30_000;
const SPREAD_MS = 3_000; // the longest retry_ms for so few clients
const HOLD_S = 5;
const CATCH_UP_MS = 2_500;
const DATA_TIMEOUT_MS = 5_000;
const BROKER_TIMEOUT_MS = 30_000;
const BURST = 100;

/**
 * Send a burst of notifications to one socket: each must arrive exactly once.
 * @param {DrillContext} context
 * @returns {Promise<Outcome>}
 */
export async function burst(context) {
  const user = context.userId('burst');
  const token = await context.token(user);
  const drill = await context.openClient('ws/notifications', () => token);
  const { lost, duplicated, unsent, took } = await context.sendNotifications(drill, user, BURST);
  return {
    passed: !lost && !duplicated && !unsent,
    text: t('drills.result.burst', { n: formatNumber(BURST), ms: formatNumber(took) }),
    figures: [[t('drills.figure.lost'), formatNumber(lost + unsent)], [t('drills.figure.duplicated'), formatNumber(duplicated)]],
  };
}

/**
 * Reconnect many clients at once.
 * @param {boolean} byServer  after a restart message; else they close and connect by themselves
 */
export function reconnectStorm(byServer) {
  return async (/** @type {DrillContext} */ context) => {
    const user = context.userId('storm');
    const token = await context.token(user);
    const count = byServer ? CLIENTS : PAGE_CLIENTS;
    const clients = Array.from({ length: count }, () => context.createClient('ws/notifications', () => token));
    const all = () => clients.every(({ open }) => open);
    const made = performance.now();
    await waitFor(all, OPEN_TIMEOUT_MS, t('drills.wait.all_open'));
    const startedAt = performance.now();
    if (byServer) await context.injectFault('restart', { user_id: user });
    else for (const { client } of clients) { client.close(); client.connect(); }
    await waitFor(() => clients.every((each) => each.since(startedAt).some(({ status }) => status.state !== 'open')), OPEN_TIMEOUT_MS, t('drills.wait.end'));
    await waitFor(all, OPEN_TIMEOUT_MS, t('drills.wait.all_open'));
    const back = clients.map((each) => each.changes[each.changes.length - 1].at - startedAt).sort((one, other) => one - other);
    const waits = clients.reduce((sum, each) => sum + each.since(startedAt).filter(({ status }) => status.state === 'waiting').length, 0);
    const failed = waits - (byServer ? count : 0); // a client that was closed by the server waits once
    const [last] = back.slice(-1);
    return {
      passed: last < SPREAD_MS + 2 * (startedAt - made) + 3_000 && !failed, // browsers open sockets one after the other
      text: t('drills.result.all_back', { n: formatNumber(count), ms: formatNumber(last) }),
      figures: /** @type {[string, string][]} */ ([
        [t('drills.figure.median'), `${formatNumber(back[count / 2])} ms`], [t('drills.figure.last'), `${formatNumber(last)} ms`],
        [t('drills.figure.failed'), formatNumber(failed)],
      ]),
    };
  };
}

/**
 * Stop reading on one of two sockets: the other must not be delayed, and `skipped` must count what the first missed.
 * @param {DrillContext} context
 * @returns {Promise<Outcome>}
 */
export async function slowReader(context) {
  const [frozen, healthy] = await Promise.all(['frozen', 'healthy'].map(async (role) => {
    const token = await context.token(context.userId(role), { tenantId: TENANT });
    return context.openClient(TENANT_PATH, () => token, { snapshot: false });
  }));
  await waitFor(() => frozen.devices.length && healthy.devices.length, DATA_TIMEOUT_MS, t('drills.wait.data'));
  const startedAt = performance.now();
  await context.injectFault('hold', { user_id: context.userId('frozen'), seconds: HOLD_S });
  await delay(HOLD_S * 1_000 + CATCH_UP_MS);
  const held = healthy.devices.filter(({ at }) => at >= startedAt && at < startedAt + HOLD_S * 1_000);
  const gap = longestGap([startedAt, ...held.map(({ at }) => at), startedAt + HOLD_S * 1_000]);
  const leaked = frozen.devices.filter(({ at }) => at >= startedAt + 500 && at < startedAt + HOLD_S * 900).length;
  const skipped = frozen.devices.reduce((sum, { frame }) => sum + (frame.skipped ?? 0), 0);
  const missing = countMissing(frozen, healthy);
  return {
    passed: !missing && !leaked && held.length > 0 && frozen.open && frozen.changes.length === healthy.changes.length,
    text: t('drills.result.frozen', { n: formatNumber(held.length), gap: formatNumber(gap) }),
    figures: [
      [t('drills.figure.skipped'), formatNumber(skipped)], [t('drills.figure.lost'), formatNumber(missing)],
    ],
  };
}

/**
 * The number of frames that the frozen socket neither received nor reported as skipped.
 *
 * The healthy socket shows what was published. Each series is compared between its first and its last frame on the
 * frozen socket.
 * @param {DrillClient} frozen
 * @param {DrillClient} healthy
 */
function countMissing(frozen, healthy) {
  const published = bySeries(healthy);
  let missing = 0;
  for (const [key, frames] of bySeries(frozen)) {
    const [first, last] = [timeOf(frames[0]), timeOf(frames[frames.length - 1])];
    const all = published.get(key) ?? [];
    const isOnce = (/** @type {number} */ at) => all.filter((frame) => timeOf(frame) === at).length === 1;
    if (!isOnce(first) || !isOnce(last)) continue; // several in one millisecond: the start is ambiguous
    const accounted = frames.slice(1).reduce(withSkipped, 0);
    const sent = all.filter((frame) => timeOf(frame) > first && timeOf(frame) <= last).reduce(withSkipped, 0);
    missing += Math.abs(sent - accounted);
  }
  return missing;
}

/** Only retained values have no time; these are live. @param {DeviceFrame} frame */
function timeOf({ timestamp }) { return timestamp ?? 0; }

/** Count a frame and those that it reports as skipped. @param {number} sum @param {DeviceFrame} frame */
function withSkipped(sum, { skipped }) { return sum + 1 + (skipped ?? 0); }

/** @param {DrillClient} client */
function bySeries({ devices }) {
  /** @type {Map<string, DeviceFrame[]>} */
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
function longestGap(moments) { return Math.max(...moments.slice(1).map((at, index) => at - moments[index])); }

/**
 * Kill the embedded broker: open sockets must be notified of the outage and its end, and receive data again.
 * @param {DrillContext} context
 * @returns {Promise<Outcome>}
 */
export async function brokerOutage(context) {
  const token = await context.token(context.userId('broker'), { tenantId: TENANT });
  const drill = await context.openClient(TENANT_PATH, () => token);
  /** @type {{at: number, up: boolean}[]} */
  const changes = [];
  drill.client.on('link', ({ up }) => changes.push({ at: performance.now(), up }));
  await waitFor(() => drill.devices.some(({ frame }) => !frame.snapshot), DATA_TIMEOUT_MS, t('drills.wait.data'));
  const startedAt = performance.now();
  await context.devApi.injectFault('broker');
  const down = await waitFor(() => changes.find(({ up }) => !up), BROKER_TIMEOUT_MS, t('drills.wait.down'));
  const up = await waitFor(() => changes.find((each) => each.up && each.at > down.at), BROKER_TIMEOUT_MS, t('drills.wait.up'));
  const data = await waitFor(() => drill.devices.find(({ at }) => at > up.at), BROKER_TIMEOUT_MS, t('drills.wait.data'));
  return {
    passed: drill.open && !drill.since(startedAt).length,
    text: t('drills.result.broker'),
    figures: [
      [t('drills.figure.reported_down'), `${formatNumber(down.at - startedAt)} ms`], [t('drills.figure.reported_up'), `${formatNumber(up.at - startedAt)} ms`],
      [t('drills.figure.data'), `${formatNumber(data.at - startedAt)} ms`],
    ],
  };
}

