/** How the columns of the device table share its width. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shareWidth } from '../../static/console/devices/column-widths.js';

const wanted = (...widths) => widths.map((width) => (typeof width === 'string' ? { width: Number(width), isWhole: true } : { width, isWhole: false }));

test('columns are as wide as their content if there is room', () => {
  assert.deepEqual(shareWidth(wanted(100, 200, '150'), 1_000), [100, 200, 150]);
});

test('only the widest columns are cut, to the same width', () => {
  assert.deepEqual(shareWidth(wanted(100, 900, 600, 150), 850), [100, 300, 300, 150]);
});

test('a column that must be whole is never cut', () => {
  assert.deepEqual(shareWidth(wanted(300, '500', 300), 700), [100, 500, 100]);
});

test('a minor column is cut first', () => {
  const columns = [...wanted(300, 400), { width: 500, isWhole: false, isMinor: true }];
  assert.deepEqual(shareWidth(columns, 1_300), [300, 400, 500]);
  assert.deepEqual(shareWidth(columns, 900), [300, 400, 160]);
});

test('no column vanishes', () => {
  assert.ok(shareWidth(wanted(300, '900', 300), 700).every((width) => width >= 72));
});
