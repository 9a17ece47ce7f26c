import assert from 'node:assert/strict';
import { test } from 'node:test';
import { selectProcesses } from './ps.ts';

test('selectProcesses: the header and the lines of the given pids', () => {
  const table =
    'UID   PID  PPID CMD\nroot    1     0 init 12\nroot   12     1 sh\nroot  121     1 ls\n';
  assert.equal(selectProcesses(table, new Set([12])), 'UID   PID  PPID CMD\nroot   12     1 sh\n');
});

test('selectProcesses: a table without a PID column is refused', () => {
  assert.throws(() => selectProcesses('CMD\nsh\n', new Set([1])), {
    message: "couldn't find PID field in ps output",
  });
});
