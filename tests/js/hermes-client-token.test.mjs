/** Token refresh, counts, history and debug log of the client, with a fake clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimsOf, HermesClient, HermesHistory } from '../../static/hermes-client.js';
import { FakeWorld, jwt, settled } from './fake-world.mjs';

const MINUTE = 60_000;

/** An open client; its n-th token expires at the n-th of these times (ms from now); null is no token. */
async function opened(expiries, options = {}) {
  const world = new FakeWorld();
  const reasons = [];
  const tokens = expiries.map((each, number) => each && jwt({ exp: (world.time + each) / 1_000, number }));
  const getToken = (reason) => {
    reasons.push(reason);
    return tokens[reasons.length - 1] ?? null;
  };
  const client = new HermesClient({ url: 'ws://gateway/ws', getToken, ...options, world });
  const errors = [];
  client.on('error', ({ message }) => errors.push(message));
  client.connect();
  await settled();
  world.socket.accept();
  world.socket.pong();
  return { world, client, reasons, tokens, errors };
}

/** Advance the time and answer each ping. */
async function pass(world, ms) {
  for (let left = ms; left > 0; left -= 5_000) {
    await world.pass(Math.min(left, 5_000));
    world.socket.pong();
  }
}

const refreshes = (world) => world.socket.sent.filter(({ action }) => action === 'refresh');

test('the next token is sent on the open socket one minute before the token expires', async () => {
  const { world, client, reasons, tokens } = await opened([10 * MINUTE, 20 * MINUTE]);
  await pass(world, 9 * MINUTE - 5_000);
  assert.deepEqual(reasons, ['first']);
  await pass(world, 10_000);
  assert.deepEqual(reasons, ['first', 'expiring']);
  assert.deepEqual(refreshes(world), [{ action: 'refresh', token: tokens[1] }]);
  assert.equal(client.state, 'open');
  assert.equal(world.sockets.length, 1);
});

test('after a reload of Hermes the new token is offered when its hint has passed, so that not all return at once', async () => {
  const { world, client, reasons, tokens } = await opened([10 * MINUTE, 20 * MINUTE]);
  world.socket.end(1008, 'token_invalid;retry_ms=7000');
  assert.deepEqual([client.state, client.status.waitMs], ['waiting', 7_000]);
  assert.deepEqual(reasons, ['first']);
  await world.pass(7_000);
  await settled();
  assert.deepEqual(reasons, ['first', 'refused']);
  assert.equal(world.sockets.length, 2);
  assert.ok(world.socket.protocols.includes(tokens[1]));
});

test('the answer to a refresh is an event, and the following token is requested in time', async () => {
  const { world, client, reasons } = await opened([10 * MINUTE, 20 * MINUTE, 30 * MINUTE]);
  const events = [];
  client.on('refreshed', (detail) => events.push(detail));
  await pass(world, 9 * MINUTE + 5_000);
  world.socket.frame({ action: 'refreshed', expires: 1_200_000 });
  assert.deepEqual(events, [{ expires: 1_200_000 }]);
  await pass(world, 10 * MINUTE);
  assert.deepEqual(reasons, ['first', 'expiring', 'expiring']);
});

test('a token with a shorter lifetime is refreshed after half of it', async () => {
  const { world, reasons } = await opened([30_000, 60_000]);
  await pass(world, 10_000);
  assert.deepEqual(reasons, ['first']);
  await pass(world, 10_000);
  assert.deepEqual(reasons, ['first', 'expiring']);
});

test('refreshBeforeMs sets when the next token is requested', async () => {
  const { world, reasons } = await opened([30_000, 60_000], { refreshBeforeMs: 5_000 });
  await pass(world, 20_000);
  assert.deepEqual(reasons, ['first']);
  await pass(world, 10_000);
  assert.deepEqual(reasons, ['first', 'expiring']);
});

test('a token without exp, one that is not a JWT and one that is valid for years are not refreshed', async () => {
  for (const token of [jwt({ user_id: 1 }), 'opaque', jwt({ exp: 4_000_000_000 }), jwt({ exp: 'soon' })]) {
    const world = new FakeWorld();
    const reasons = [];
    const client = new HermesClient({ url: 'ws://gateway/ws', getToken: (reason) => { reasons.push(reason); return token; }, world });
    client.connect();
    await settled();
    world.socket.accept();
    await pass(world, 2 * 60 * MINUTE);
    assert.deepEqual(reasons, ['first']);
    client.close();
  }
});

for (const [result, answer] of [['no token', null], ['the same token', undefined]]) {
  test(`if getToken returns ${result}, nothing is sent, and the 1008 asks once more`, async () => {
    const { world, client, reasons, tokens, errors } = await opened([30_000]);
    tokens.push(answer === null ? null : tokens[0], jwt({ exp: 9_999_999 }));
    await pass(world, 20_000);
    assert.deepEqual(reasons, ['first', 'expiring']);
    assert.deepEqual(refreshes(world), []);
    assert.match(errors[0], /no new token/);
    world.socket.end(1008, 'token_expired');
    await settled();
    assert.deepEqual(reasons, ['first', 'expiring', 'expired']);
    assert.equal(world.socket.protocols[1], tokens[2]);
    assert.equal(client.state, 'connecting');
  });
}

test('a failing refresh is an error, and the socket stays open', async () => {
  const world = new FakeWorld();
  const errors = [];
  const client = new HermesClient({
    url: 'ws://gateway/ws', world,
    getToken: (reason) => { if (reason === 'first') return jwt({ exp: (world.time + 30_000) / 1_000 }); throw new Error('login is down'); },
  });
  client.on('error', ({ message }) => errors.push(message));
  client.connect();
  await settled();
  world.socket.accept();
  await pass(world, 20_000);
  assert.deepEqual(errors, ['getToken failed: login is down']);
  assert.equal(client.state, 'open');
});

test('a new token that arrives after the socket closed is not sent on the next socket', async () => {
  let deliver;
  const world = new FakeWorld();
  const client = new HermesClient({
    url: 'ws://gateway/ws', world,
    getToken: (reason) => (reason === 'first' ? jwt({ exp: (world.time + 30_000) / 1_000 }) : new Promise((resolve) => { deliver = resolve; })),
  });
  client.connect();
  await settled();
  world.socket.accept();
  await pass(world, 16_000);
  world.socket.end(1006);
  await world.pass(1_000);
  world.socket.accept();
  deliver(jwt({ exp: 9_999_999 }));
  await settled();
  assert.deepEqual(refreshes(world), []);
});

test('claims are decoded as UTF-8, and null is returned for other text', () => {
  assert.deepEqual(claimsOf(jwt({ username: 'Zoë ✓ ÿ?>', n: 1 })), { username: 'Zoë ✓ ÿ?>', n: 1 });
  for (const token of ['', 'a.b', 'a.%%%.c', jwt([1]), `a.${Buffer.from('"text"').toString('base64url')}.c`]) {
    assert.equal(claimsOf(token), null);
  }
});

/** A notification. */
const notice = (id, more = {}) => ({ channel: 'notifications', id, title: id, message: '', type: 'info', timestamp: 1, ...more });

test('frames and bytes are counted both ways, in UTF-8', async () => {
  const { world, client } = await opened([null].map(() => MINUTE * 60));
  const before = { ...client.counts };
  world.socket.frame('{"action":"pong","é":1}');
  client.send({ action: 'x', note: 'ü' });
  assert.equal(client.counts.received - before.received, 1);
  assert.equal(client.counts.bytesIn - before.bytesIn, 24);
  assert.equal(client.counts.sent - before.sent, 1);
  assert.equal(client.counts.bytesOut - before.bytesOut, Buffer.byteLength('{"action":"x","note":"ü"}'));
});

test('a notification with a repeated id is counted and not emitted again, also on another socket', async () => {
  const { world, client } = await opened([60 * MINUTE]);
  const ids = [];
  const frames = [];
  client.on('notification', ({ id }) => ids.push(id));
  client.on('frame', ({ id }) => id && frames.push(id));
  world.socket.frame(notice('a'));
  world.socket.frame(notice('a'));
  world.socket.end(1006);
  await world.pass(1_000);
  world.socket.accept();
  world.socket.frame(notice('a'));
  world.socket.frame(notice('b'));
  assert.deepEqual(ids, ['a', 'b']);
  assert.deepEqual(frames, ['a', 'a', 'a', 'b']);
  assert.equal(client.counts.duplicates, 2);
});

test('only the last 1,000 ids are compared', async () => {
  const { world, client } = await opened([60 * MINUTE]);
  for (let number = 0; number <= 1_000; number += 1) world.socket.frame(notice(`n${number}`));
  world.socket.frame(notice('n1'));
  world.socket.frame(notice('n0'));
  assert.equal(client.counts.duplicates, 1);
});

test('gaps are counted only with numbered ids', async () => {
  const ids = ['order-7', 'order-8', 'order-11', 'whatever', 'order-12', 'order-10', 'order-15'];
  for (const [numbered, gaps] of [[true, 4], [false, 0]]) {
    const { world, client } = await opened([60 * MINUTE], { numbered });
    for (const id of ids) world.socket.frame(notice(id));
    assert.equal(client.counts.gaps, gaps);
  }
});

test('each id prefix has its own sequence, from any number on', async () => {
  const { world, client } = await opened([60 * MINUTE], { numbered: true });
  for (const id of ['order-17', 'invoice-900', 'order-18', '0', '5', 'invoice-902']) world.socket.frame(notice(id));
  assert.equal(client.counts.gaps, 5);
});

test('skipped values are added up', async () => {
  const { world, client } = await opened([60 * MINUTE]);
  for (const more of [{ skipped: 3 }, {}, { skipped: 39 }]) world.socket.frame({ channel: 'device', device_id: 'd', data: 1, ...more });
  assert.equal(client.counts.skipped, 42);
});

test('ping() measures a round trip, one at a time', async () => {
  const { world, client } = await opened([60 * MINUTE]);
  const trips = [];
  client.on('rtt', (ms) => trips.push(ms));
  assert.equal(client.ping(), true);
  assert.equal(client.ping(), false);
  await world.pass(12);
  world.socket.pong();
  assert.deepEqual(trips, [12]);
  client.close();
  assert.equal(client.ping(), false);
});

/** A browser storage with a maximum number of characters. */
function storage(maxChars = Infinity) {
  const items = new Map();
  return {
    getItem: (key) => items.get(key) ?? null,
    setItem(key, text) {
      if (text.length > maxChars) throw new Error('QuotaExceededError');
      items.set(key, text);
    },
  };
}

const saved = () => new Promise((resolve) => setTimeout(resolve, 150));

test('the history stores the last notifications and broadcasts, newest first, and survives a reload', async () => {
  const place = storage();
  const history = new HermesHistory({ max: 3, storage: place });
  const { world } = await opened([60 * MINUTE], { history });
  for (const id of ['a', 'b', 'a', 'c']) world.socket.frame(notice(id));
  world.socket.frame({ ...notice('d'), channel: 'tenant' });
  world.socket.frame({ channel: 'device', device_id: 'd', data: 1 });
  assert.deepEqual(history.items.map(({ id }) => id), ['d', 'c', 'b']);
  await saved();
  assert.deepEqual(new HermesHistory({ max: 3, storage: place }).items, history.items);
  history.clear();
  await saved();
  assert.deepEqual(new HermesHistory({ storage: place }).items, []);
});

test('two clients may share a history; what both receive is stored once', async () => {
  const history = new HermesHistory({ storage: null });
  const [one, other] = [await opened([60 * MINUTE], { history }), await opened([60 * MINUTE], { history })];
  one.world.socket.frame(notice('a'));
  other.world.socket.frame(notice('a'));
  assert.equal(history.items.length, 1);
});

test('an acknowledged notification is marked if the acknowledgement was sent', async () => {
  const history = new HermesHistory({ storage: null });
  const { world, client } = await opened([60 * MINUTE], { history });
  for (const id of ['a', 'b']) world.socket.frame(notice(id));
  client.ack('a');
  client.close();
  client.ack('b');
  assert.deepEqual(history.items.map(({ id, acked }) => [id, acked]), [['b', undefined], ['a', true]]);
});

test('a full storage keeps the newer half, and invalid content is replaced', async () => {
  const place = storage(800);
  const history = new HermesHistory({ storage: place });
  for (let number = 0; number < 16; number += 1) history.add(notice(`n${number}`));
  await saved();
  const kept = new HermesHistory({ storage: place }).items.map(({ id }) => id);
  assert.ok(kept.length >= 4 && kept.length < 16);
  assert.equal(kept[0], 'n15');
  for (const text of ['{', '7', 'null', '{"a":1}', '"text"']) {
    assert.deepEqual(new HermesHistory({ storage: { getItem: () => text, setItem() {} } }).items, []);
  }
});

test('if the browser blocks its storage, the history is in memory only', (context) => {
  const before = Object.getOwnPropertyDescriptor(globalThis, 'localStorage');
  context.after(() => (before ? Object.defineProperty(globalThis, 'localStorage', before) : delete globalThis.localStorage));
  Object.defineProperty(globalThis, 'localStorage', { configurable: true, get() { throw new Error('SecurityError'); } });
  const history = new HermesHistory();
  assert.equal(history.add(notice('a')), true);
  assert.deepEqual(history.items.map(({ id }) => id), ['a']);
});

test('the log contains each frame and each state change, and no token', async () => {
  const lines = [];
  const { world, client, tokens } = await opened([30_000, 60_000], { log: (line) => lines.push(line), tokenIn: 'query' });
  world.socket.frame(notice('a', { message: `stolen: ${jwt({ user_id: 5 })}` }));
  await pass(world, 20_000);
  world.socket.end(1001, 'stopping;retry_ms=500');
  const texts = lines.map(({ kind, text }) => `${kind} ${text}`);
  assert.ok(texts.some((text) => text === 'out {"action":"ping"}'));
  assert.ok(texts.some((text) => text.startsWith('in {"channel":"notifications","id":"a"')));
  assert.ok(texts.some((text) => text === 'out {"action":"refresh","token":"…"}'));
  assert.ok(texts.some((text) => /^note waiting \{.*1001/.test(text)));
  const all = texts.join('\n');
  for (const token of tokens) assert.ok(!all.includes(token));
  assert.ok(!all.includes('eyJ'));
  client.close();
});

test('a token that is not a JWT is not in the log, nor in an error of getToken', async () => {
  const lines = [];
  const world = new FakeWorld();
  let calls = 0;
  const client = new HermesClient({
    url: 'ws://gateway/ws', world, log: (line) => lines.push(line.text),
    getToken: () => { calls += 1; if (calls > 1) throw new Error('opaque-secret is used up'); return 'opaque-secret'; },
  });
  client.connect();
  await settled();
  world.socket.end(1008, 'token_invalid');
  await settled();
  assert.ok(lines.some((line) => line.includes('… is used up')));
  assert.ok(!lines.join('\n').includes('opaque-secret'));
  client.close();
});

test('a getToken that never returns times out like a handshake, and is called again', async () => {
  const world = new FakeWorld();
  const reasons = [];
  const errors = [];
  const client = new HermesClient({
    url: 'ws://gateway/ws', world,
    getToken: (reason) => { reasons.push(reason); return reasons.length === 1 ? new Promise(() => {}) : 'token'; },
  });
  client.on('error', ({ message }) => errors.push(message));
  client.connect();
  await settled();
  assert.equal(client.state, 'connecting');
  await world.pass(15_000);
  assert.equal(client.state, 'waiting');
  assert.deepEqual(errors, ['no token or handshake in time']);
  await world.pass(1_000);
  assert.deepEqual(reasons, ['first', 'first']);
  assert.equal(world.sockets.length, 1);
});

test('send returns false while the socket is closing', async () => {
  const { world, client } = await opened([60 * MINUTE]);
  const { sent } = client.counts;
  world.socket.readyState = 2;
  assert.equal(client.send({ action: 'ping' }), false);
  assert.equal(client.ack('a'), false);
  assert.equal(client.counts.sent, sent);
});

test('masking takes linear time for text that resembles many tokens', async () => {
  const lines = [];
  const { world } = await opened([60 * MINUTE], { log: (line) => lines.push(line.text) });
  const began = performance.now();
  for (const text of ['eyJ'.repeat(20_000), 'eyJ.'.repeat(15_000), '.'.repeat(60_000), 'eyJ.a.b '.repeat(7_000)]) {
    world.socket.frame({ action: 'note', text });
  }
  assert.ok(performance.now() - began < 10_000); // backtracking took minutes
  assert.ok(!lines.join().includes('eyJ.a.b'));
});

test('a token that expired during an outage is not sent: the next one is requested first, and the 1008 asks once more', async () => {
  const { world, client, reasons, tokens } = await opened([30_000, 300_000, 400_000]);
  world.socket.end(1006);
  await world.pass(10_000);
  assert.deepEqual(reasons, ['first']);
  for (let second = 0; second < 40 && reasons.length === 1; second += 1) await world.pass(1_000);
  await settled();
  assert.deepEqual(reasons, ['first', 'expired']);
  assert.equal(world.socket.protocols[1], tokens[1]);
  world.socket.accept();
  world.socket.end(1008, 'token_invalid');
  await settled();
  assert.deepEqual(reasons, ['first', 'expired', 'refused']);
  assert.equal(client.state, 'connecting');
});

test('a token that only the local clock calls expired is sent again: the server decides', async () => {
  const world = new FakeWorld();
  const token = jwt({ exp: world.time / 1_000 - 3_600 });
  const reasons = [];
  const client = new HermesClient({ url: 'ws://gateway/ws', world, getToken: (reason) => { reasons.push(reason); return token; } });
  client.connect();
  await settled();
  for (let outage = 0; outage < 3; outage += 1) {
    world.socket.accept();
    world.socket.pong();
    world.socket.end(1006);
    await world.pass(1_000);
    await settled();
    assert.equal(client.state, 'connecting');
  }
  assert.deepEqual(reasons, ['first', 'expired', 'expired', 'expired']);
  world.socket.accept();
  world.socket.end(1008, 'token_expired');
  await settled();
  assert.equal(client.state, 'refused');
});
