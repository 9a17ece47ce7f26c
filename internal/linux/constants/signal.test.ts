import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import { parseSignal, Signal, signalName } from './signal.ts';

for (const [text, expected] of [
  ['9', 9],
  ['KILL', 9],
  ['SIGKILL', 9],
  ['sigterm', 15],
  ['SIGIOT', 6],
  ['CLD', 17],
  ['POLL', 29],
  ['RTMIN', 34],
  ['SIGRTMIN+3', 37],
  ['RTMAX-1', 63],
  ['64', 64],
  ['0', 0],
  ['65', undefined],
  ['-9', undefined],
  ['9x', undefined],
  ['', undefined],
  ['SIG', undefined],
  ['SIGSIGKILL', undefined],
  ['RTMIN-1', undefined],
  ['RTMAX+1', undefined],
  ['constructor', undefined],
  ['__proto__', undefined],
] as const) {
  test(`parseSignal: ${JSON.stringify(text)} is ${expected}`, () => {
    assert.equal(parseSignal(text), expected);
  });
}

test('Signal: the numbers are those of this machine', () => {
  for (const [name, number] of Object.entries(Signal)) {
    assert.equal(number, constants.signals[name as NodeJS.Signals] ?? number, name);
  }
});

for (const [number, name] of [
  [9, 'SIGKILL'],
  [34, 'SIGRTMIN'],
  [40, 'SIGRTMIN+6'],
  [33, 'signal 33'],
  [99, 'signal 99'],
] as const) {
  test(`signalName: ${number} is ${name}`, () => assert.equal(signalName(number), name));
}
