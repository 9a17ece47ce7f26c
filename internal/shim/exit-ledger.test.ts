import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ExitLedger, type ProcessExit } from './exit-ledger.ts';

const exitOf = (pid: number, status = 0): ProcessExit => ({ pid, status, exitedAtNs: 1n });

function collector(): { exits: ProcessExit[]; listener: (exit: ProcessExit) => void } {
  const exits: ProcessExit[] = [];
  return { exits, listener: (exit) => exits.push(exit) };
}

test('ExitLedger tells a claim of an exit that comes later, once', () => {
  const ledger = new ExitLedger();
  const { exits, listener } = collector();
  {
    using watch = ledger.watch();
    watch.claim(7, listener);
  }
  assert.equal(ledger.claimed.length, 1);
  ledger.record(exitOf(7, 3));
  ledger.record(exitOf(7, 4));
  assert.deepEqual(exits, [exitOf(7, 3)]);
  assert.equal(ledger.claimed.length, 0);
});

test('ExitLedger tells a claim of an exit that came while the runtime was still running', () => {
  const ledger = new ExitLedger();
  const { exits, listener } = collector();
  using watch = ledger.watch();
  ledger.record(exitOf(7, 137));
  watch.claim(7, listener);
  assert.deepEqual(exits, [exitOf(7, 137)]);
});

test('ExitLedger keeps an exit for each of several watches', () => {
  const ledger = new ExitLedger();
  const { exits, listener } = collector();
  using first = ledger.watch();
  using second = ledger.watch();
  ledger.record(exitOf(7));
  ledger.record(exitOf(8));
  first.claim(8, listener);
  second.claim(7, listener);
  assert.deepEqual(
    exits.map(({ pid }) => pid),
    [8, 7],
  );
});

test('ExitLedger does not take an exit before the watch for that of a new process', () => {
  const ledger = new ExitLedger();
  const { exits, listener } = collector();
  ledger.record(exitOf(7));
  ledger.watch()[Symbol.dispose]();
  using watch = ledger.watch();
  watch.claim(7, listener);
  assert.deepEqual(exits, []);
});

test('ExitLedger forgets what a watch saw when it ends', () => {
  const ledger = new ExitLedger();
  const watch = ledger.watch();
  watch[Symbol.dispose]();
  ledger.record(exitOf(7));
  const { exits, listener } = collector();
  watch.claim(7, listener);
  assert.deepEqual(exits, []);
});
