import assert from 'node:assert/strict';
import { test } from 'node:test';
import { programEnvironment } from './environment.ts';

test('programEnvironment: what has one entry stays in its order', () => {
  const env = ['B=2', 'A=', 'PATH=/bin:/sbin', 'C=a=b', '__proto__=x'];
  assert.deepEqual(programEnvironment(env), env);
});

test('programEnvironment: of several entries of one name the last stands at its place', () => {
  assert.deepEqual(programEnvironment(['A=1', 'B=', 'A=2', 'A2=3', 'A=']), ['B=', 'A2=3', 'A=']);
});

test('programEnvironment: an empty HOME is none, also where an earlier one had a value', () => {
  assert.deepEqual(programEnvironment(['HOME=', 'A=1']), ['A=1']);
  assert.deepEqual(programEnvironment(['HOME=/x', 'A=1', 'HOME=']), ['A=1']);
  assert.deepEqual(programEnvironment(['HOME=', 'HOME=/x']), ['HOME=/x']);
});
