/** The lines of the log: one for each message, also if several sockets bring it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogBuffer } from '../../static/console/log/log-buffer.js';

const VALUE = '{"channel":"device","device_id":"d1","data":1,"timestamp":1}';

function logOf(...lines) {
  const log = new LogBuffer();
  for (const [socket, text, kind = 'in'] of lines) log.add({ at: 0, socket, kind, text });
  return log;
}

const socketsOf = (log) => log.filtered.map(({ sockets }) => sockets.join('+'));

test('a message that several sockets bring is one line', () => {
  assert.deepEqual(socketsOf(logOf(['tenant', VALUE], ['combined', VALUE], ['device', VALUE])), ['tenant+combined+device']);
});

test('a message that one socket brings twice is two lines', () => {
  const log = logOf(['tenant', VALUE], ['tenant', VALUE], ['combined', VALUE], ['combined', VALUE]);
  assert.deepEqual(socketsOf(log), ['tenant+combined', 'tenant+combined']);
});

test('answers, what is sent, and notes are lines of their socket', () => {
  const log = logOf(['tenant', '{"action":"pong"}'], ['combined', '{"action":"pong"}'], ['tenant', VALUE, 'out'], ['combined', VALUE, 'out'], ['tenant', 'open', 'note'], ['combined', 'open', 'note']);
  assert.equal(log.filtered.length, 6);
});

test('the filter finds a line by each of its sockets, also one that comes later', () => {
  const log = logOf(['tenant', VALUE]);
  log.setFilter({ text: '', socket: 'combined', kind: '' });
  assert.deepEqual(socketsOf(log), []);
  log.add({ at: 0, socket: 'combined', kind: 'in', text: VALUE });
  assert.deepEqual(socketsOf(log), ['tenant+combined']);
  assert.deepEqual(log.takeRepeated().map(({ number }) => number), [0]);
  assert.deepEqual(log.takeRepeated(), []);
});

test('repeated lines are bounded while no list takes them', () => {
  const log = new LogBuffer();
  for (let number = 0; number < 5_000; number += 1) {
    const text = VALUE.replace('"data":1', `"data":${number}`);
    for (const socket of ['tenant', 'combined']) log.add({ at: 0, socket, kind: 'in', text });
  }
  const numbers = log.takeRepeated().map(({ number }) => number);
  assert.deepEqual([numbers.length, numbers[0], numbers.at(-1)], [2_000, 3_000, 4_999]);
});

test('an empty log remembers no message', () => {
  const log = logOf(['tenant', VALUE]);
  log.clear();
  log.add({ at: 0, socket: 'combined', kind: 'in', text: VALUE });
  assert.deepEqual(socketsOf(log), ['combined']);
});
