/** The client and its history with a server that has an inbox: position, replay, read state and expiry. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HermesClient, HermesHistory } from '../../static/hermes-client.js';
import { FakeWorld, jwt, settled } from './fake-world.mjs';

const ANA = { user_id: '1', tenant_id: 'acme' };
const NOW = 1_800_000_000_000;

/** A browser storage that counts what is written; it refuses texts of more characters. */
class FakeStorage {
  entries = new Map();
  writes = 0;

  constructor(maxChars = Infinity) { this.maxChars = maxChars; }

  getItem(key) { return this.entries.get(key) ?? null; }

  setItem(key, text) {
    this.writes += 1;
    if (text.length > this.maxChars) throw new Error('QuotaExceededError');
    this.entries.set(key, text);
  }
}

/** A client with an open socket, and its events. */
async function opened({ claims = ANA, url = 'ws://gateway/ws/notifications', ...options } = {}) {
  const world = new FakeWorld();
  const tokens = [claims].flat().map((each) => jwt(each));
  const client = new HermesClient({ url, getToken: () => (tokens.length > 1 ? tokens.shift() : tokens[0]), ...options, world });
  const seen = [];
  for (const type of ['notification', 'resumed', 'missed', 'acked', 'withdrawn']) client.on(type, (detail) => seen.push([type, detail]));
  client.connect();
  await settled();
  world.socket.accept();
  return { world, client, seen, of: (type) => seen.filter(([name]) => name === type).map(([, detail]) => detail) };
}

/** Break the socket and wait for the next one. */
async function reconnect(world) {
  world.socket.end(1006);
  await world.pass(1_000);
  world.socket.accept();
}

/** Stop the clock and the timers of the history. */
function stopClock(context) { context.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: NOW }); }

const sinceOf = ({ socket }) => new URL(socket.url).searchParams.get('since');
const answer = (more = {}) => ({ action: 'resumed', epoch: 'e', from: 0, to: 0, gap: false, unread: 0, ...more });
const note = (seq, more = {}) => ({ channel: 'notifications', id: `n${seq}`, title: 't', message: '', type: 'info', timestamp: NOW, seq, ...more });
const replayed = (seq, more = {}) => note(seq, { replayed: true, ...more });
const END = { action: 'replay_end', seq: 0 };

/** Send frames over the latest socket. */
function send({ socket }, ...frames) { for (const frame of frames) socket.frame(frame); }

test('the routes with notifications ask for what was missed, the others do not', async () => {
  for (const url of ['ws://gateway/ws', 'ws://gateway/hermes/ws/notifications?snapshot=0']) {
    const { searchParams } = new URL((await opened({ url })).world.socket.url);
    assert.deepEqual([searchParams.get('since'), searchParams.get('replay_end')], ['0', '1']);
  }
  for (const url of ['ws://gateway/ws/tenant/acme', 'ws://gateway/ws/tenants', 'ws://gateway/ws/device/d1']) {
    assert.equal((await opened({ url })).world.socket.url, url);
  }
});

test('with resume: false, or a token that names no user, nothing is asked for', async () => {
  for (const options of [{ resume: false }, { claims: { tenant_id: 'acme' } }, { claims: { email: 'a@b' } }]) {
    assert.equal((await opened(options)).world.socket.url, 'ws://gateway/ws/notifications');
  }
  assert.equal(sinceOf((await opened({ claims: { email: 'a@b' }, readerClaims: ['email'] })).world), '0');
  assert.equal(sinceOf((await opened({ claims: { sub: 'ana' } })).world), '0');
});

test('the position moves after the answer only, with each higher seq, and not without one', async () => {
  const { world } = await opened({ history: new HermesHistory({ storage: null }) });
  send(world, note(90));
  await reconnect(world);
  assert.equal(sinceOf(world), '0');
  send(world, answer({ from: 3 }), replayed(5), note(4), note(undefined, { id: 'x' }), { action: 'acked', notification_id: 'n1', seq: 6, acked_at: 1 });
  await reconnect(world);
  assert.equal(sinceOf(world), 'e:6');
  send(world, note(90)); // the inbox could not be read: live frames without an answer
  await reconnect(world);
  assert.equal(sinceOf(world), 'e:6');
  send(world, answer({ from: 6, to: 9 }), { ...END, seq: 9 });
  await reconnect(world);
  assert.equal(sinceOf(world), 'e:9');
});

test('a new epoch replaces the position', async () => {
  const { world } = await opened({ history: new HermesHistory({ storage: null }) });
  send(world, answer({ from: 70 }), note(80));
  await reconnect(world);
  send(world, answer({ epoch: 'new', from: 0, gap: true }), replayed(2));
  await reconnect(world);
  assert.equal(sinceOf(world), 'new:2');
});

test('the position survives a reload, with the notifications before it', async (context) => {
  stopClock(context);
  const storage = new FakeStorage();
  const first = await opened({ history: new HermesHistory({ storage }) });
  send(first.world, answer(), ...Array.from({ length: 1_000 }, (_, index) => replayed(index + 1)), { ...END, seq: 1_000 });
  assert.equal(storage.writes, 0);
  context.mock.timers.tick(100);
  assert.equal(storage.writes, 1);
  const history = new HermesHistory({ storage });
  assert.deepEqual([history.items.length, history.items[0].id], [200, 'n1000']);
  assert.equal(sinceOf((await opened({ history })).world), 'e:1000');
  assert.equal(sinceOf((await opened({ history: new HermesHistory({ storage: new FakeStorage() }) })).world), '0'); // lost with the history
});

test('each user, tenant, server and route has a position of its own', async () => {
  const history = new HermesHistory({ storage: null });
  const { world } = await opened({ history });
  send(world, answer(), note(7));
  for (const options of [
    { claims: { ...ANA, user_id: '2' } }, { claims: { ...ANA, tenant_id: 'other' } }, { url: 'ws://gateway/ws' }, { url: 'ws://other/ws/notifications' },
    { claims: '{"user_id":9007199254740992}' },
  ]) {
    const other = await opened({ history, ...options });
    assert.equal(sinceOf(other.world), '0');
    send(other.world, answer(), note(99));
  }
  assert.equal(sinceOf((await opened({ history })).world), 'e:7');
  assert.equal(sinceOf((await opened({ history, claims: '{"user_id":9007199254740993}' })).world), '0');
});

test('a token of another user in the same client uses that user\'s position', async () => {
  const { world } = await opened({ claims: [ANA, { ...ANA, user_id: '2' }], history: new HermesHistory({ storage: null }) });
  send(world, answer(), note(7));
  world.socket.end(1008, 'token_expired');
  await settled();
  assert.equal(sinceOf(world), '0');
});

test('a client without a history has its position from another client of the page', async () => {
  const url = 'ws://without/ws/notifications';
  const { world, client } = await opened({ url });
  send(world, answer(), note(4));
  client.close();
  assert.equal(sinceOf((await opened({ url })).world), 'e:4');
});

test('another tab does not move the position of this page, and this one does not move it back', async (context) => {
  stopClock(context);
  const storage = new FakeStorage();
  const [slow, quick] = [await opened({ history: new HermesHistory({ storage }) }), await opened({ history: new HermesHistory({ storage }) })];
  for (const { world } of [slow, quick]) send(world, answer(), note(1));
  send(quick.world, note(2), note(3));
  context.mock.timers.tick(100);
  await reconnect(slow.world);
  assert.equal(sinceOf(slow.world), 'e:1'); // it has not shown 2 and 3
  send(slow.world, answer({ from: 1 }), replayed(2));
  context.mock.timers.tick(100);
  const history = new HermesHistory({ storage });
  assert.equal(sinceOf((await opened({ history })).world), 'e:3');
  assert.deepEqual(history.items.map(({ id }) => id), ['n3', 'n2', 'n1']);
});

test('what two tabs store at the same time is kept', (context) => {
  stopClock(context);
  const storage = new FakeStorage();
  const [one, other] = [new HermesHistory({ storage }), new HermesHistory({ storage })];
  one.add(note(1));
  other.add(note(2));
  context.mock.timers.tick(100);
  other.mark('n2', { acked: true });
  one.add(note(3));
  context.mock.timers.tick(100);
  const stored = new HermesHistory({ storage }).items;
  assert.deepEqual(stored.map(({ id, acked }) => [id, acked]), [['n3', undefined], ['n2', true], ['n1', undefined]]);
});

test('with a full storage notifications and position are in memory', async (context) => {
  stopClock(context);
  const history = new HermesHistory({ storage: new FakeStorage(1) });
  const { world } = await opened({ history });
  send(world, answer(), note(1));
  context.mock.timers.tick(100);
  send(world, note(2));
  context.mock.timers.tick(100);
  assert.deepEqual(history.items.map(({ id }) => id), ['n2', 'n1']);
  assert.equal(sinceOf((await opened({ history })).world), 'e:2');
});

test('the positions of a thousand users are kept', (context) => {
  stopClock(context);
  const storage = new FakeStorage();
  const history = new HermesHistory({ storage });
  for (let user = 0; user < 1_001; user += 1) history.setPosition(`user ${user}`, ['e', 1]);
  context.mock.timers.tick(100);
  const { positions } = new HermesHistory({ storage });
  assert.deepEqual([Object.keys(positions).length, positions['user 0'], positions['user 1000']], [1_000, undefined, ['e', 1]]);
});

test('a history of version 0.1.0 is read', () => {
  const storage = new FakeStorage();
  storage.setItem('hermes.history', JSON.stringify([note(undefined, { id: 'old' })]));
  assert.deepEqual(new HermesHistory({ storage }).items.map(({ id }) => id), ['old']);
});

test('what was missed comes as notifications, then once as a summary', async () => {
  const history = new HermesHistory({ storage: null });
  history.add(note(2));
  const { world, seen, of } = await opened({ history });
  send(world, answer({ to: 5, unread: 3 }), replayed(1), replayed(2), replayed(3, { acked_at: NOW }), replayed(4), { ...END, seq: 5 }, note(6));
  assert.deepEqual(seen.map(([type, { id }]) => id ?? type), ['resumed', 'n1', 'n2', 'n3', 'n4', 'missed', 'n6']);
  assert.deepEqual(of('missed'), [{ count: 2, gap: false }]); // n2 is in the history, n3 is read
  assert.equal(of('resumed')[0].unread, 3);
  assert.deepEqual(history.items.filter(({ acked }) => acked).map(({ id }) => id), ['n3']);
});

test('a replay that is interrupted is in the next summary; nothing missed is no summary', async () => {
  const { world, of } = await opened({ history: new HermesHistory({ storage: null }) });
  send(world, answer({ gap: true }), replayed(1), replayed(2));
  await reconnect(world);
  assert.deepEqual(of('missed'), []);
  send(world, answer({ from: 2 }), replayed(3), { ...END, seq: 3 });
  assert.deepEqual(of('missed'), [{ count: 3, gap: true }]);
  await reconnect(world);
  send(world, answer({ from: 3 }), { ...END, seq: 3 });
  assert.equal(of('missed').length, 1);
});

test('acknowledgements and withdrawals change the history, live or replayed', async () => {
  const history = new HermesHistory({ storage: null });
  const { world, of } = await opened({ history });
  send(world, answer(), ...[1, 2, 3, 4, 5].map((seq) => note(seq)));
  assert.equal(history.unread, 5);
  send(
    world, { action: 'acked', notification_id: 'n4', seq: 6, acked_at: NOW }, { action: 'acked', upto: 2, seq: 7, acked_at: NOW, replayed: true },
    { action: 'withdrawn', notification_id: 'n3', seq: 8 }, note(9, { replaces: 'n5' }),
  );
  assert.deepEqual(history.items.map(({ id, acked }) => [id, acked]), [['n9', undefined], ['n4', true], ['n2', true], ['n1', true]]);
  assert.equal(history.unread, 1);
  assert.deepEqual([of('acked').length, of('withdrawn').length], [2, 1]);
});

test('an acknowledgement changes the history once', async () => {
  const history = new HermesHistory({ storage: null });
  const { world, client } = await opened({ history });
  send(world, answer(), note(1), note(2));
  client.ack('n1');
  const [, item] = history.items;
  send(world, { action: 'acked', notification_id: 'n1', seq: 3, acked_at: NOW });
  assert.equal(history.items[1], item);
});

test('what has expired leaves the history, by one timer', (context) => {
  stopClock(context);
  const history = new HermesHistory({ storage: new FakeStorage() });
  const sizes = [];
  for (let number = 1; number <= 50; number += 1) history.add(note(number, { expires: NOW + number * 1_000 }));
  history.add(note(51));
  history.addEventListener('change', () => sizes.push(history.items.length));
  for (let second = 0; second < 3; second += 1) context.mock.timers.tick(1_000);
  assert.deepEqual(sizes, [50, 49, 48]);
  context.mock.timers.tick(60_000);
  assert.deepEqual(history.items.map(({ id }) => id), ['n51']);
  assert.equal(history.unread, 1);
  history.add(note(52, { expires: NOW - 1, replayed: true }));
  assert.equal(history.items.length, 1);
});

test('a live notification is shown for its time also if the clock is wrong', (context) => {
  stopClock(context);
  for (const [skew, more] of [[86_400_000, {}], [-86_400_000, {}], [0, { replayed: true }]]) {
    const history = new HermesHistory({ storage: null });
    const timestamp = Date.now() + skew;
    history.add(note(1, { timestamp, expires: timestamp + 5_000, ...more }));
    context.mock.timers.tick(4_999);
    assert.equal(history.items.length, 1);
    context.mock.timers.tick(1);
    assert.equal(history.items.length, 0);
  }
});

test('what expires after months does not expire at once', (context) => {
  stopClock(context);
  const history = new HermesHistory({ storage: null });
  history.add(note(1, { expires: NOW + 10_000_000_000 }));
  context.mock.timers.tick(3_600_000 * 24);
  assert.equal(history.items.length, 1);
});
