import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  isChildSubreaper,
  isDumpable,
  setChildSubreaper,
  setDumpable,
  setProcessName,
} from './process-attributes.ts';

test('setChildSubreaper, setDumpable: on and off', () => {
  assert.equal(isChildSubreaper(), false);
  setChildSubreaper(true);
  assert.equal(isChildSubreaper(), true);
  setChildSubreaper(false);
  assert.equal(isChildSubreaper(), false);
  const before = isDumpable();
  setDumpable(!before);
  assert.equal(isDumpable(), !before);
  setDumpable(before);
});

test('setProcessName: 15 bytes of it', () => {
  const before = readFileSync('/proc/thread-self/comm', 'latin1').trim();
  setProcessName('a-name-that-is-too-long');
  assert.equal(readFileSync('/proc/thread-self/comm', 'latin1'), 'a-name-that-is-\n');
  setProcessName(before);
});
