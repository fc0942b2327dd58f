/** Behaviour of the client with a fake server and a fake clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HermesClient, membersOf } from '../../static/hermes-client.js';
import { FakeWorld, settled } from './fake-world.mjs';

/** A started client in a fake environment, and all its events. */
async function started(options = {}) {
  const world = options.world ?? new FakeWorld();
  const reasons = [];
  const getToken = (reason) => {
    reasons.push(reason);
    return `token-${reasons.length}`;
  };
  const client = new HermesClient({ url: 'ws://gateway/ws', getToken, ...options, world });
  const seen = [];
  for (const type of ['state', 'frame', 'notification', 'device', 'broadcast', 'presence', 'link', 'rtt', 'error']) {
    client.on(type, (detail) => seen.push([type, detail]));
  }
  const details = (type) => seen.filter(([name]) => name === type).map(([, detail]) => detail);
  client.connect();
  await settled();
  return { world, client, reasons, details };
}

/** A client with an open socket that received a first frame. */
async function opened(options) {
  const parts = await started(options);
  parts.world.socket.accept();
  parts.world.socket.pong();
  return parts;
}

test('the token is sent as a subprotocol and not in the URL', async () => {
  const { world } = await started();
  assert.deepEqual(world.socket.protocols, ['hermes.v1', 'token-1']);
  assert.equal(world.socket.url, 'ws://gateway/ws');
});

test('with tokenIn: query the token is added to the query', async () => {
  const { world } = await started({ url: 'https://gateway/ws?snapshot=0', tokenIn: 'query' });
  assert.deepEqual(world.socket.protocols, []);
  assert.equal(world.socket.url, 'wss://gateway/ws?snapshot=0&token=token-1');
});

test('states are emitted in order and available as a property', async () => {
  const { client, details } = await opened();
  assert.deepEqual(details('state').map(({ state }) => state), ['connecting', 'open']);
  assert.equal(client.state, 'open');
});

test('getToken may be asynchronous', async () => {
  const { world } = await started({ getToken: async () => 'later' });
  assert.deepEqual(world.socket.protocols, ['hermes.v1', 'later']);
});

test('a token that arrives after close() opens no socket', async () => {
  let deliver;
  const { world, client } = await started({ getToken: () => new Promise((resolve) => { deliver = resolve; }) });
  client.close();
  deliver('late');
  await settled();
  assert.equal(world.sockets.length, 0);
});

test('a failing getToken is an error, and is called again later', async () => {
  let calls = 0;
  const getToken = () => {
    calls += 1;
    if (calls === 1) throw new Error('login is down');
    return 'good';
  };
  const { world, client, details } = await started({ getToken });
  assert.equal(client.state, 'waiting');
  assert.match(details('error')[0].message, /login is down/);
  await world.pass(1_000);
  assert.deepEqual(world.socket.protocols, ['hermes.v1', 'good']);
});

test('without a token the state is refused and no socket is opened', async () => {
  const { world, client } = await started({ getToken: () => null });
  assert.equal(client.state, 'refused');
  assert.equal(world.sockets.length, 0);
});

test('a token that cannot be a subprotocol is refused, and the error does not contain it', async () => {
  const world = new FakeWorld();
  world.WebSocket = class { constructor() { throw new SyntaxError('bad subprotocol "se cret"'); } };
  const { client, details } = await started({ world, getToken: () => 'se cret' });
  assert.equal(client.state, 'refused');
  assert.doesNotMatch(details('error')[0].message, /cret/);
});

test('a ws:// URL in a page loaded over https is explained', async () => {
  const world = new FakeWorld();
  world.WebSocket = class { constructor() { throw new DOMException('insecure, token se cret', 'SecurityError'); } };
  const { client, details } = await started({ world, getToken: () => 'se cret' });
  assert.equal(client.state, 'refused');
  assert.match(details('error')[0].message, /wss:/);
  assert.doesNotMatch(details('error')[0].message, /cret/);
});

test('back-off doubles from 1 s to 30 s with full jitter', async () => {
  const world = new FakeWorld();
  world.chance = 1; // the upper bound itself
  const { client, details } = await started({ world });
  for (let tries = 0; tries < 7; tries += 1) {
    world.socket.end(1006);
    await world.pass(client.status.waitMs);
  }
  const waits = details('state').filter(({ state }) => state === 'waiting');
  assert.deepEqual(waits.map(({ waitMs }) => waitMs), [1000, 2000, 4000, 8000, 16000, 30000, 30000]);
  assert.deepEqual(waits.map(({ attempt }) => attempt), [1, 2, 3, 4, 5, 6, 7]);
  world.chance = 0; // the lower bound
  world.socket.end(1006);
  assert.equal(details('state').at(-1).waitMs, 0);
});

test('nextTryAt is the time of the next attempt', async () => {
  const { world, details } = await opened();
  world.socket.end(1006);
  assert.equal(details('state').at(-1).nextTryAt, world.time + 500);
  await world.pass(499);
  assert.equal(world.sockets.length, 1);
  await world.pass(1);
  assert.equal(world.sockets.length, 2);
});

test('the current token is used again after a broken connection', async () => {
  const { world, reasons } = await opened();
  world.socket.end(1006);
  await world.pass(500);
  assert.deepEqual(world.socket.protocols, ['hermes.v1', 'token-1']);
  assert.deepEqual(reasons, ['first']);
});

test('the first frame of a socket resets the back-off', async () => {
  const { world, details } = await started();
  world.socket.end(1006);
  await world.pass(500);
  world.socket.end(1006);
  await world.pass(1_000);
  world.socket.accept();
  world.socket.pong();
  world.socket.end(1006);
  assert.equal(details('state').at(-1).waitMs, 500);
});

test('a socket that is closed at once does not reset the back-off', async () => {
  const { world, client, details } = await started();
  for (let tries = 0; tries < 3; tries += 1) {
    world.socket.accept();
    world.socket.end(1013, 'server_full');
    await world.pass(client.status.waitMs);
  }
  const waits = details('state').filter(({ state }) => state === 'waiting').map(({ waitMs }) => waitMs);
  assert.deepEqual(waits, [500, 1000, 2000]);
});

for (const [code, reason] of [[1001, 'stopping;retry_ms=7000'], [1013, 'slow_consumer;retry_ms=7000']]) {
  test(`retry_ms is waited for after ${code}`, async () => {
    const { world, details } = await opened();
    world.socket.end(code, reason);
    assert.equal(details('state').at(-1).waitMs, 7000);
  });
}

test('back-off grows beyond repeated hints', async () => {
  const world = new FakeWorld();
  world.chance = 1;
  const { client, details } = await started({ world });
  for (let tries = 0; tries < 4; tries += 1) {
    world.socket.accept();
    world.socket.end(1013, 'server_full;retry_ms=3000');
    await world.pass(client.status.waitMs);
  }
  const waits = details('state').filter(({ state }) => state === 'waiting').map(({ waitMs }) => waitMs);
  assert.deepEqual(waits, [3000, 3000, 4000, 8000]);
});

test('a hint is ignored for other codes, and a huge one is limited', async () => {
  const { world, details } = await opened();
  world.socket.end(1011, 'internal_error;retry_ms=7000');
  assert.equal(details('state').at(-1).waitMs, 500);
  await world.pass(500);
  world.socket.end(1001, 'stopping;retry_ms=99999999999999999999');
  assert.equal(details('state').at(-1).waitMs, 3_600_000);
});

test('a ping is sent at once and every 30 s, and each pong gives the round trip time', async () => {
  const { world, details } = await started();
  world.socket.accept();
  assert.deepEqual(world.socket.sent, [{ action: 'ping' }]);
  await world.pass(12);
  world.socket.pong();
  assert.deepEqual(details('rtt'), [12]);
  await world.pass(29_987);
  assert.equal(world.socket.sent.length, 1);
  await world.pass(1);
  assert.equal(world.socket.sent.length, 2);
});

test('without a pong within 10 s the socket is replaced', async () => {
  const { world, client, details } = await opened();
  const first = world.socket;
  await world.pass(39_999);
  assert.equal(client.state, 'open');
  await world.pass(1);
  assert.equal(client.state, 'waiting');
  assert.notEqual(first.closedWith, undefined);
  assert.equal(first.onmessage, null);
  assert.match(details('error').at(-1).message, /no pong/);
  await world.pass(500);
  assert.equal(world.sockets.length, 2);
});

test('a handshake times out after 15 s', async () => {
  const { world, client } = await started();
  await world.pass(15_000);
  assert.equal(client.state, 'waiting');
});

for (const [reason, tokenReason] of [['token_expired', 'expired'], ['token_invalid', 'refused'], ['', 'refused']]) {
  test(`1008 "${reason}" requests a new token once and reconnects with it at once`, async () => {
    const { world, reasons } = await opened();
    world.socket.end(1008, reason);
    await settled();
    assert.deepEqual(reasons, ['first', tokenReason]);
    assert.deepEqual(world.socket.protocols, ['hermes.v1', 'token-2']);
  });
}

for (const reason of ['token_invalid', 'token_expired', 'forbidden']) {
  test(`a second 1008 "${reason}" stops the client; for good with retryRefusedMs: 0`, async () => {
    const { world, client, reasons, details } = await started({ retryRefusedMs: 0 });
    world.socket.accept();
    world.socket.end(1008, reason);
    await settled();
    world.socket.accept();
    world.socket.end(1008, reason);
    await world.pass(600_000);
    world.window.dispatchEvent(new Event('online'));
    assert.equal(client.state, 'refused');
    assert.deepEqual(details('state').at(-1).close, { code: 1008, reason });
    assert.deepEqual([reasons.length, world.sockets.length, world.timers.size, world.listenerCount], [2, 2, 0, 0]);
  });
}

test('after 1008 "revoked" it waits until a new token is a later one, then asks for it once', async () => {
  const { world, client, reasons } = await opened();
  world.socket.end(1008, 'revoked');
  await world.pass(1_999);
  assert.equal(client.state, 'waiting');
  world.window.dispatchEvent(new Event('online'));
  await settled();
  assert.deepEqual(reasons, ['first'], 'also when the network returns');
  await world.pass(2_001);
  assert.deepEqual(reasons, ['first', 'refused']);
  assert.deepEqual(world.socket.protocols, ['hermes.v1', 'token-2']);
  world.socket.accept();
  world.socket.end(1008, 'revoked');
  await settled();
  assert.equal(client.state, 'refused', 'the user is out: the next attempt comes after minutes');
  await world.pass(600_000);
  assert.ok(reasons.length > 2);
});

test('after 1001 "disconnected" it returns with the same token when the server asks for it', async () => {
  const { world, reasons } = await opened();
  world.socket.end(1001, 'disconnected;retry_ms=7000');
  await world.pass(6_999);
  assert.equal(world.sockets.length, 1);
  await world.pass(1);
  assert.equal(world.sockets.length, 2);
  assert.deepEqual(reasons, ['first']);
});

test('the same token again is not sent', async () => {
  const { world, client } = await started({ getToken: () => 'old' });
  world.socket.accept();
  world.socket.end(1008, 'token_invalid');
  await settled();
  assert.equal(client.state, 'refused');
  assert.equal(world.sockets.length, 1);
  assert.deepEqual(client.status.close, { code: 1008, reason: 'token_invalid' });
});

test('too_many_errors stops the client at once, also after the first frame', async () => {
  const { world, client, reasons } = await opened();
  world.socket.end(1008, 'too_many_errors');
  await world.pass(140_000);
  assert.deepEqual([client.state, reasons.length, world.sockets.length], ['refused', 1, 1]);
});

test('a refused client tries again after minutes, with jitter, and sends also the same token', async () => {
  for (const [chance, waitMs] of [[0, 150_000], [1, 450_000]]) {
    const world = new FakeWorld();
    const reasons = [];
    const { client } = await started({ world, getToken: (reason) => { reasons.push(reason); return 'old'; } });
    for (let round = 1; round <= 3; round += 1) {
      world.socket.accept();
      world.chance = chance;
      world.socket.end(1008, 'token_invalid');
      await settled();
      assert.deepEqual([client.state, client.status.waitMs, world.sockets.length], ['refused', waitMs, round]);
      assert.equal(client.status.nextTryAt, world.time + waitMs);
      await world.pass(waitMs - 1);
      assert.equal(client.state, 'refused');
      await world.pass(1);
      await settled();
      assert.equal(client.state, 'connecting');
    }
    assert.deepEqual(reasons, ['first', 'refused', 'refused', 'refused', 'refused', 'refused', 'refused']);
    world.socket.accept();
    world.socket.pong();
    assert.equal(client.state, 'open');
    client.close();
    assert.deepEqual([world.timers.size, world.listenerCount], [0, 0]);
  }
});

test('a refused client tries again when the network returns or the tab is visible again, and not while it is hidden', async () => {
  for (const wake of [(world) => world.window.dispatchEvent(new Event('online')),
    (world) => world.document.dispatchEvent(new Event('visibilitychange'))]) {
    const { world, client, reasons } = await opened();
    world.socket.end(1008, 'too_many_errors');
    world.document.hidden = true;
    world.document.dispatchEvent(new Event('visibilitychange'));
    assert.equal(client.state, 'refused');
    world.document.hidden = false;
    wake(world);
    await settled();
    assert.deepEqual([client.state, reasons.at(-1)], ['connecting', 'refused']);
    client.close();
    wake(world);
    assert.equal(client.state, 'closed');
  }
});

test('a wait of a month after a refusal does not become none', async () => {
  const { world, client } = await opened({ retryRefusedMs: 30 * 86_400_000 });
  world.socket.end(1008, 'too_many_errors');
  assert.ok(client.status.waitMs >= 1_800_000 && client.status.waitMs <= 5_400_000);
});

test('a new 1008 after a successful socket requests a token again', async () => {
  const { world, reasons } = await opened();
  world.socket.end(1008, 'token_expired');
  await settled();
  world.socket.accept();
  world.socket.pong();
  world.socket.end(1008, 'token_expired');
  await settled();
  assert.deepEqual(reasons, ['first', 'expired', 'expired']);
  assert.equal(world.sockets.length, 3);
});

test('connect() starts again after the state refused', async () => {
  const { world, client, reasons } = await opened();
  world.socket.end(1008, 'too_many_errors');
  client.connect();
  await settled();
  world.socket.accept();
  assert.equal(client.state, 'open');
  assert.deepEqual(reasons, ['first', 'first']);
  assert.equal(client.status.close, null);
});

test('connect() while waiting tries at once; while open it does nothing', async () => {
  const { world, client } = await opened();
  client.connect();
  assert.equal(world.sockets.length, 1);
  world.socket.end(1006);
  client.connect();
  assert.equal(world.sockets.length, 2);
  assert.equal(world.timers.size, 1); // the handshake's, no longer the wait's
});

test('online or a visible tab ends the wait', async () => {
  const { world, client } = await opened();
  world.socket.end(1006);
  world.window.dispatchEvent(new Event('online'));
  assert.equal(client.state, 'connecting');
  world.socket.end(1006);
  world.document.hidden = true;
  world.document.dispatchEvent(new Event('visibilitychange'));
  assert.equal(client.state, 'waiting');
  world.document.hidden = false;
  world.document.dispatchEvent(new Event('visibilitychange'));
  assert.equal(client.state, 'connecting');
});

test('a wait that the server requested is not shortened', async () => {
  const { world, client } = await opened();
  world.socket.end(1013, 'server_full;retry_ms=20000');
  world.window.dispatchEvent(new Event('online'));
  assert.equal(client.state, 'waiting');
});

test('online while open sends a ping at once', async () => {
  const { world, client } = await opened();
  world.window.dispatchEvent(new Event('online'));
  world.window.dispatchEvent(new Event('online')); // one ping is enough
  assert.equal(world.socket.sent.length, 2);
  await world.pass(10_000);
  assert.equal(client.state, 'waiting');
});

test('each frame is emitted as frame and as its own event', async () => {
  const { world, details } = await opened();
  const frames = [
    { channel: 'notifications', id: 'n1' }, { channel: 'device', device_id: 'd1' }, { channel: 'tenant', id: 'b1' },
    { channel: 'status', mqtt: 'up' }, { channel: 'constructor' }, { action: 'subscribed', devices: [] },
  ];
  frames.forEach((frame) => world.socket.frame(frame));
  assert.deepEqual(details('frame').slice(1), frames);
  assert.deepEqual(details('notification'), [frames[0]]);
  assert.deepEqual(details('device'), [frames[1]]);
  assert.deepEqual(details('broadcast'), [frames[2]]);
});

test('an online, offline or unknown device is emitted as presence only', async () => {
  const { world, details } = await opened();
  const gone = { channel: 'status', tenant_id: 'acme', device_id: 'd1', online: false, since: 7 };
  const back = { ...gone, online: true, since: null };
  const unknown = { ...gone, online: null };
  world.socket.frame(gone);
  world.socket.frame(back);
  world.socket.frame(unknown);
  assert.deepEqual(details('presence'), [gone, back, unknown]);
  assert.deepEqual([...details('link'), ...details('device')], []);
});

test('changes of the link are emitted and available as a property', async () => {
  const { world, client, details } = await opened();
  assert.deepEqual(client.link, { up: true, since: null });
  world.socket.frame({ channel: 'status', mqtt: 'down', since: 5 });
  assert.deepEqual(client.link, { up: false, since: 5 });
  world.socket.frame({ channel: 'status', mqtt: 'up', since: 6 });
  assert.deepEqual(client.link, { up: true, since: 6 });
  assert.deepEqual(details('link'), [{ up: false, since: 5 }, { up: true, since: 6 }]);
});

test('an unknown status is emitted as frame only', async () => {
  const { world, client, details } = await opened();
  for (const odd of [{ mqtt: 'sideways' }, { device_id: 'd1', online: 'yes' }, {}]) {
    world.socket.frame({ channel: 'status', ...odd });
  }
  assert.equal(details('frame').length, 4);
  assert.deepEqual([...details('link'), ...details('presence'), ...details('error')], []);
  assert.equal(client.link.up, true);
});

test('a new socket assumes that the link is up until the first status', async () => {
  const { world, client, details } = await opened();
  world.socket.frame({ channel: 'status', mqtt: 'down', since: 5 });
  world.socket.end(1006);
  await world.pass(500);
  assert.equal(client.link.up, false); // not known yet
  const seenAtOpen = [];
  client.on('state', ({ state }) => state === 'open' && seenAtOpen.push(client.link));
  world.socket.accept();
  assert.deepEqual(seenAtOpen, [{ up: true, since: null }]);
  world.socket.frame({ channel: 'status', mqtt: 'down', since: 5 });
  assert.deepEqual(details('link').map(({ up }) => up), [false, true, false]);
});

test('snapshot: false is added to the query', async () => {
  const { world } = await started({ url: 'ws://gateway/ws?tenant_id=acme', snapshot: false });
  assert.equal(world.socket.url, 'ws://gateway/ws?tenant_id=acme&snapshot=0');
  const wanted = await started({ snapshot: true });
  assert.equal(wanted.world.socket.url, 'ws://gateway/ws');
});

test('a snapshot value is a device event with snapshot: true', async () => {
  const { world, details } = await opened();
  const known = { channel: 'device', device_id: 'd1', device_name: 'Hall', snapshot: true, timestamp: null, retained: true };
  world.socket.frame(known);
  assert.deepEqual(details('device'), [known]);
});

test('an invalid frame is emitted as error only', async () => {
  const { world, client, details } = await opened();
  for (const bad of ['not json', '[1]', 'null', '42', '{"half":']) world.socket.frame(bad);
  world.socket.onmessage({ data: new ArrayBuffer(3) });
  assert.equal(details('error').length, 6);
  assert.equal(client.state, 'open');
});

test('an error frame is emitted with its code', async () => {
  const { world, details } = await opened();
  world.socket.frame({ action: 'error', code: 'not_here', message: 'subscribe only on /ws' });
  assert.equal(details('error')[0].code, 'not_here');
  assert.match(details('error')[0].message, /subscribe only on/);
});

test('send and ack return whether the message was sent', async () => {
  const { world, client } = await started();
  assert.equal(client.send({ action: 'x' }), false);
  world.socket.accept();
  assert.equal(client.ack('n1'), true);
  assert.equal(client.ack(), true);
  const acks = [{ action: 'ack', notification_id: 'n1' }, { action: 'ack' }];
  assert.deepEqual(world.socket.sent.slice(1), acks);
});

test('a message larger than 64 KiB is not sent, because the server would close the socket', async () => {
  const { world, client, details } = await opened();
  assert.equal(client.send({ text: 'é'.repeat(33_000) }), false);
  assert.equal(world.socket.sent.length, 1);
  assert.equal(details('error').length, 1);
});

test('subscriptions are repeated after a reconnect', async () => {
  const { world, client } = await opened();
  client.subscribe('d1');
  client.subscribe('d2');
  client.unsubscribe('d1');
  world.socket.end(1006);
  await world.pass(500);
  world.socket.accept();
  assert.deepEqual(world.socket.sent, [{ action: 'subscribe', devices: ['d2'] }, { action: 'ping' }]);
});

test('many subscriptions are repeated in frames that the server accepts', async () => {
  const { world, client } = await opened();
  const names = Array.from({ length: 300 }, (_, n) => `${n}${'é'.repeat(200)}`);
  for (const name of names) client.subscribe(name);
  world.socket.end(1006);
  await world.pass(500);
  world.socket.accept();
  const frames = world.socket.sent.filter(({ action }) => action === 'subscribe');
  assert.deepEqual(frames.flatMap(({ devices }) => devices), names);
  assert.equal(frames.length, 3);
  for (const frame of frames) assert.ok(new TextEncoder().encode(JSON.stringify(frame)).length < 65_536);
});

for (const [when, reach] of [
  ['connecting', async () => started()],
  ['open', opened],
  ['waiting', async () => {
    const parts = await opened();
    parts.world.socket.end(1006);
    return parts;
  }],
]) {
  test(`close() while ${when} leaves no timer, listener or socket`, async () => {
    const { world, client } = await reach();
    const { socket } = world;
    client.close();
    assert.equal(client.state, 'closed');
    assert.deepEqual([world.timers.size, world.listenerCount], [0, 0]);
    assert.deepEqual([socket.onopen, socket.onmessage, socket.onclose], [null, null, null]);
    await world.pass(600_000);
    assert.equal(world.sockets.length, 1);
  });
}

test('close() works inside any listener', async () => {
  for (const type of ['state', 'frame', 'link', 'rtt', 'error']) {
    const { world, client } = await started();
    client.on(type, () => client.close());
    world.socket.accept();
    world.socket.frame({ channel: 'status', mqtt: 'down', since: 5 });
    world.socket.pong();
    world.socket.end(1006);
    await world.pass(600_000);
    assert.deepEqual([type, client.state, world.timers.size, world.sockets.length], [type, 'closed', 0, 1]);
  }
});

test('a listener can be removed', async () => {
  const { world, client } = await opened();
  let frames = 0;
  const off = client.on('frame', () => { frames += 1; });
  world.socket.pong();
  off();
  world.socket.pong();
  assert.equal(frames, 1);
});

test('each event of a frame has its text as it was received', async () => {
  const { world, client } = await opened();
  const texts = [];
  for (const type of ['frame', 'device', 'notification', 'broadcast', 'presence']) client.on(type, (detail, text) => texts.push([type, text]));
  let ofEvent;
  client.addEventListener('device', (event) => { ofEvent = event.text; });
  const frames = {
    device: '{"channel":"device","data":{"eui":9007199254740993, "t":1.10,"t":-0}}',
    notification: '{"channel":"notifications","id":"1","data":{"n":12345678901234567890}}',
    broadcast: '{"channel":"tenant","id":"2","data":{"n":1e2}}',
    presence: '{"channel":"status","device_id":"d1","online":true}',
  };
  for (const text of Object.values(frames)) world.socket.frame(text);
  assert.deepEqual(texts, Object.entries(frames).flatMap(([type, text]) => [['frame', text], [type, text]]));
  assert.equal(ofEvent, frames.device);
});

test('an event without a frame has no text', async () => {
  const texts = [];
  const { world, client } = await started();
  for (const type of ['state', 'rtt', 'error']) client.on(type, (detail, text) => texts.push(text));
  world.socket.accept();
  world.socket.pong();
  world.socket.frame('no JSON');
  assert.deepEqual(texts, ['', '', '']);
});

test('membersOf returns values as they are written', () => {
  const of = (text) => membersOf(text);
  assert.deepEqual(of('{"a":9007199254740993,"b":1.10,"c":-0,"d":1e400}'), [['a', '9007199254740993'], ['b', '1.10'], ['c', '-0'], ['d', '1e400']]);
  assert.deepEqual(of('{"a":1,"a":2}'), [['a', '1'], ['a', '2']]);
  assert.deepEqual(of(' { "a" : [1, {"b": "]"}] , "c\\"}" : "\\\\" } '), [['a', '[1, {"b": "]"}]'], ['c"}', '"\\\\"']]);
  assert.deepEqual(of('[1.10,"a,b",[],{}]'), [['0', '1.10'], ['1', '"a,b"'], ['2', '[]'], ['3', '{}']]);
  for (const text of ['{}', '[]', ' [ ] ', '12', '"a:b,c"', 'null', '', '{"a":"not closed']) assert.deepEqual(of(text), []);
});
