/** When the console asks for receipts: ever more rarely, one at a time, and not for ever. */

import assert from 'node:assert/strict';
import { after, beforeEach, test } from 'node:test';
import { RequestFault } from '../../static/console/lib/inbox-api.js';
import { ReceiptPoller } from '../../static/console/notifications/receipt-poller.js';

const SECOND = 1_000;
const real = { performance: globalThis.performance, clearTimeout: globalThis.clearTimeout };
let nowMs = 0;
let planned = null;

beforeEach(() => {
  [nowMs, planned] = [0, null];
  Object.defineProperty(globalThis, 'performance', { configurable: true, value: { now: () => nowMs } });
  globalThis.document = { hidden: false };
  globalThis.clearTimeout = () => { planned = null; };
  globalThis.window = { setTimeout: (run) => { planned = run; return nowMs + 1; } };
});
after(() => {
  Object.defineProperty(globalThis, 'performance', { configurable: true, value: real.performance });
  globalThis.clearTimeout = real.clearTimeout;
});

const sent = (more = {}) => ({ id: 'n', kind: 'user_id', recipient: '1', title: 't', at: 0, receipt: null, withdrawn: false, problem: '', ...more });
const receipt = (more = {}) => ({ seq: 1, sockets: 0, acked_at: null, withdrawn: false, expires: Date.now() + 3_600_000, ...more });

/** A poller whose receipts are these in turn, the last one for ever; an Error is thrown. */
function poller(...answers) {
  const asked = [];
  const api = { receipt: async () => {
    asked.push(nowMs);
    const next = answers[Math.min(asked.length, answers.length) - 1];
    if (next instanceof Error) throw next;
    return next;
  } };
  return { asked, polls: new ReceiptPoller(api, () => {}) };
}

async function passSeconds(seconds) {
  for (let passed = 0; passed < seconds; passed += 1) {
    nowMs += SECOND;
    await planned?.();
  }
}

test('it asks ever more rarely, at most every 30 s, and ends after ten minutes', async () => {
  const { asked, polls } = poller(receipt());
  polls.add(sent());
  polls.start();
  await passSeconds(3_600);
  const gaps = asked.slice(1).map((at, index) => at - asked[index]);
  assert.deepEqual(gaps.slice(0, 4), [2, 3, 4, 6].map((seconds) => seconds * SECOND));
  assert.deepEqual([...gaps].sort((one, other) => one - other), gaps);
  assert.ok(Math.max(...gaps) <= 31 * SECOND && asked.length < 30 && asked[asked.length - 1] <= 630 * SECOND, String(asked));
});

for (const [what, end] of Object.entries({
  acknowledged: receipt({ acked_at: 1 }), withdrawn: receipt({ withdrawn: true }), expired: receipt({ expires: 1 }),
  'not found': new RequestFault(404, 'not_found', ''), forbidden: new RequestFault(403, 'forbidden', ''),
})) {
  test(`it asks no more after: ${what}`, async () => {
    const { asked, polls } = poller(receipt(), end);
    polls.add(sent());
    polls.start();
    await passSeconds(600);
    assert.equal(asked.length, 2);
  });
}

test('a broadcast is asked for once: its acknowledgements are not counted', async () => {
  const { asked, polls } = poller(receipt());
  polls.add(sent({ kind: 'tenant_id' }));
  polls.start();
  await passSeconds(600);
  assert.equal(asked.length, 1);
});

test('a hidden page and a stopped poller ask nothing', async () => {
  const { asked, polls } = poller(receipt());
  polls.add(sent());
  polls.start();
  globalThis.document.hidden = true;
  await passSeconds(60);
  globalThis.document.hidden = false;
  polls.stop();
  await passSeconds(60);
  assert.equal(asked.length, 0);
  polls.start();
  await passSeconds(1);
  assert.equal(asked.length, 1);
});

test('after a failure it asks again', async () => {
  const one = sent();
  const { asked, polls } = poller(new Error('not reachable'), new RequestFault(503, 'inbox_unavailable', ''), receipt({ acked_at: 1 }));
  polls.add(one);
  polls.start();
  await passSeconds(60);
  assert.deepEqual([asked.length, one.problem, one.receipt?.acked_at], [3, '', 1]);
});
