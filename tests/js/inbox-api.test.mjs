/** Requests of the console to the inbox: which credential each has, and what a refused token leads to. */

import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { InboxApi, RequestFault } from '../../static/console/lib/inbox-api.js';

const { fetch: realFetch, setTimeout: realSetTimeout } = globalThis;
globalThis.setTimeout = (...given) => realSetTimeout(...given).unref(); // Node does not wait for the time limits
afterEach(() => { globalThis.fetch = realFetch; });

/** Answer each request with the next of these; returns the requests. */
function answer(...answers) {
  const requests = [];
  globalThis.fetch = async (path, { method = 'GET', headers, body }) => {
    requests.push({ path, method, headers, body });
    const [status, json] = answers[requests.length - 1];
    return { ok: status === 200, status, json: async () => json };
  };
  return requests;
}

const REFUSED = [401, { error: { code: 'token_expired', message: 'send a valid token' } }];
const PAGE = [200, { frames: [] }];

test('a reader sends the token, a sender the key', async () => {
  const requests = answer(PAGE, [200, {}], [200, {}]);
  const api = new InboxApi({ token: 'T', apiKey: 'K' });
  await api.read('e:1', 10);
  await api.receipt({ id: 'a&b', kind: 'tenant_id', recipient: 'x y' });
  await api.withdraw({ id: 'n', kind: 'user_id', recipient: '1' });
  assert.deepEqual(requests.map(({ path, method, headers }) => [method, path, headers]), [
    ['GET', 'inbox?since=e%3A1&limit=10&broadcasts=1', { Authorization: 'Bearer T' }],
    ['GET', 'receipts?id=a%26b&tenant_id=x+y', { 'X-API-Key': 'K' }],
    ['DELETE', 'notify?id=n&user_id=1', { 'X-API-Key': 'K' }],
  ]);
});

test('a refused token is renewed once by the sign-in', async () => {
  const requests = answer(REFUSED, PAGE);
  const credentials = { token: 'old', tokenFor: async () => 'new' };
  assert.deepEqual(await new InboxApi(credentials).read('0', 1), PAGE[1]);
  assert.deepEqual(requests.map(({ headers }) => headers.Authorization), ['Bearer old', 'Bearer new']);
});

test('without a newer token the refusal is the answer', async () => {
  for (const renewed of ['old', '']) {
    const requests = answer(REFUSED, PAGE);
    const credentials = { token: 'old', tokenFor: async () => renewed };
    await assert.rejects(new InboxApi(credentials).ack({ notification_id: 'n' }), (error) => (
      error instanceof RequestFault && error.status === 401 && error.message === '401 token_expired: send a valid token'));
    assert.equal(requests.length, 1);
  }
});

test('an answer of a proxy is a fault with its status', async () => {
  answer([502, null]);
  await assert.rejects(new InboxApi({ apiKey: '' }).stats(), /^Error: 502$/);
});
