/** What the console knows of the nodes of a site, from the answers of one or several of them. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasProblem, NodeRows } from '../../static/console/overview/node-rows.js';

const figures = (more = {}) => ({ version: '1', missing: [], sockets: { open: { '/ws': 1, '/ws/notifications': 2 } }, ...more });
const other = (node, more = {}) => ({
  node, state: 'joined', version: '1', protocol: 1, same_keys: true, users: 5, sockets: 6, heard: 1_000, figures: figures(), ...more,
});
const answer = (node, nodes, { cluster = {}, ...more } = {}) => figures({ cluster: { node, state: 'joined', protocol: 1, users: 2, nodes, former: [], uncertain: [], ...cluster }, ...more });
const states = (rows) => rows.rows.map(({ name, state }) => [name, state]);

test('each node has its counts, and nothing is wrong', () => {
  const rows = new NodeRows();
  rows.add(answer('a', [other('b')]), 0);
  assert.deepEqual(rows.rows.map(({ name, users, sockets, answers }) => [name, users, sockets, answers]), [['a', 2, 3, true], ['b', 5, 6, false]]);
  assert.deepEqual(rows.rows.filter(hasProblem), []);
});

test('a node that does not answer is silent, or unknown to one that is alone', () => {
  const rows = new NodeRows();
  rows.add(answer('a', [other('b', { state: null, figures: null })]), 0);
  assert.deepEqual(states(rows), [['a', 'joined'], ['b', 'silent']]);
  assert.equal(rows.get('b').heard, 1_000);
  rows.add(answer('a', [other('b', { state: null, figures: null })], { cluster: { state: 'alone' }, missing: ['cluster: NATS'] }), 1_000);
  assert.deepEqual(states(rows), [['a', 'alone'], ['b', 'unknown']]);
  rows.add(answer('a', [other('b')]), 2_000);
  assert.deepEqual(states(rows), [['a', 'joined'], ['b', 'joined']]);
  assert.equal(rows.get('b').heard, null);
});

test('nodes that are gone come last; one that has stopped is no problem', () => {
  const rows = new NodeRows();
  const former = [{ node: 'a', version: '1', left: true, heard: 5 }, { node: 'b', version: '1', left: false, heard: 6 }];
  rows.add(answer('d', [other('c')], { cluster: { former } }), 0);
  assert.deepEqual(states(rows), [['c', 'joined'], ['d', 'joined'], ['a', 'left'], ['b', 'lost']]);
  assert.deepEqual(rows.rows.filter(hasProblem).map(({ name }) => name), ['b']);
});

test('what differs is named at the smaller group, whichever node answers', () => {
  const rows = new NodeRows();
  const differences = () => rows.rows.map(({ differences: found }) => found.join());
  const expected = ['', 'other_keys,other_version,other_protocol', ''];
  const odd = { version: '2', protocol: 2, same_keys: false };
  rows.add(answer('a', [other('b', odd), other('c')]), 0);
  assert.deepEqual(differences(), expected);
  rows.add(answer('b', [other('a', { same_keys: false }), other('c', { same_keys: false })], { version: '2', cluster: { protocol: 2 } }), 1_000);
  assert.deepEqual(differences(), expected);
  const pair = new NodeRows();
  for (const one of [answer('a', [other('b', { same_keys: false })]), answer('b', [other('a', { same_keys: false })])]) {
    pair.add(one, 0);
    assert.deepEqual(pair.rows.map(({ differences: found }) => found.join()), ['', 'other_keys']);
  }
});

test('behind a proxy each node that has answered is marked, and what one said is kept for a while', () => {
  const rows = new NodeRows();
  rows.add(answer('a', [other('b')], { cluster: { former: [{ node: 'c', version: '1', left: false, heard: 6 }] } }), 0);
  rows.add(answer('b', [other('a')]), 1_000);
  assert.deepEqual(rows.rows.map(({ name, answers }) => [name, answers]), [['a', true], ['b', true], ['c', false]]);
  rows.add(answer('b', [other('a', { figures: null })]), 2_000);
  assert.equal(rows.get('a').answers, false);
  rows.add(answer('b', [other('a')]), 31_000);
  assert.deepEqual(rows.rows.map(({ name, answers }) => [name, answers]), [['a', false], ['b', true]]);
});
