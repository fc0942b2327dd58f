/** The stored rows that the console has read: pages, changes, another inbox, and the bound. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InboxRows, ROWS_MAX } from '../../static/console/inbox/inbox-rows.js';

const frame = (seq, more = {}) => ({ channel: 'notifications', id: `n${seq}`, title: `Number ${seq}`, message: '', type: 'info', timestamp: seq, seq, replayed: true, ...more });
const page = (frames, more = {}) => ({ epoch: 'e1', from: 0, to: frames.at(-1)?.seq ?? 0, gap: false, unread: 0, more: false, frames, ...more });

test('each page begins where the last one ended', () => {
  const rows = new InboxRows();
  assert.equal(rows.position, '0');
  rows.add(page([frame(3), frame(7)], { more: true, unread: 3 }));
  assert.deepEqual([rows.position, rows.more, rows.unread], ['e1:7', true, 3]);
  rows.add(page([frame(8)], { to: 20, unread: 3 }));
  assert.deepEqual([[...rows.rows.keys()], rows.position, rows.more], [[3, 7, 8], 'e1:20', false]);
});

test('the first acknowledgement counts, by id or up to a number', () => {
  const rows = new InboxRows();
  rows.add(page([frame(1, { acked_at: 100 }), frame(2), frame(3)]));
  rows.add(page([{ action: 'acked', notification_id: 'n2', seq: 4, acked_at: 200, replayed: true }]));
  rows.add(page([{ action: 'acked', upto: 2, seq: 5, acked_at: 300, replayed: true }]));
  assert.deepEqual([...rows.rows.values()].map(({ ackedAt }) => ackedAt), [100, 200, null]);
});

test('a withdrawn row stays, marked', () => {
  const rows = new InboxRows();
  rows.add(page([frame(1), frame(2)]));
  rows.add(page([{ action: 'withdrawn', notification_id: 'n1', seq: 3, replayed: true }]));
  assert.deepEqual([...rows.rows.values()].map(({ withdrawn }) => withdrawn), [true, false]);
});

test('the rows of another inbox take the place of all, and a gap stays', () => {
  const rows = new InboxRows();
  rows.add(page([frame(5)], { gap: true }));
  rows.add(page([frame(6)]));
  assert.equal(rows.gap, true);
  rows.add(page([frame(1)], { epoch: 'e2', gap: true }));
  assert.deepEqual([[...rows.rows.keys()], rows.position], [[1], 'e2:1']);
});

test('the oldest rows make room', () => {
  const rows = new InboxRows();
  rows.add(page(Array.from({ length: ROWS_MAX + 5 }, (_, index) => frame(index + 1))));
  assert.deepEqual([rows.rows.size, rows.rows.keys().next().value, rows.dropped], [ROWS_MAX, 6, 5]);
});
