import assert from 'node:assert/strict';
import { readFileSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { addSeals, createMemfd } from './memfd.ts';

test('createMemfd: has the contents; sealed, it cannot be written any more', () => {
  using file = createMemfd('greeting', Buffer.from('hello'));
  assert.equal(readFileSync(`/proc/self/fd/${file.number}`, 'latin1'), 'hello');
  addSeals(file, ['F_SEAL_WRITE', 'F_SEAL_GROW', 'F_SEAL_SHRINK', 'F_SEAL_SEAL']);
  assert.throws(() => writeSync(file.number, 'x'), { code: 'EPERM' });
  assert.throws(() => addSeals(file, ['F_SEAL_EXEC']), { message: 'seal memfd: EPERM' });
});
