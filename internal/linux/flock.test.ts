import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { lockExclusively, tryLockExclusively } from './flock.ts';

test('flock: one open file has the lock, another gets it when the first is closed', () => {
  const directory = mkdtempSync(join(tmpdir(), 'flock-'));
  const path = join(directory, 'lock');
  const first = openSync(path, 'w');
  const second = openSync(path, 'w');
  try {
    lockExclusively(first, path);
    assert.equal(tryLockExclusively(second, path), false);
    closeSync(first);
    assert.equal(tryLockExclusively(second, path), true);
    assert.throws(() => lockExclusively(first, path), { message: `lock ${path}: EBADF` });
  } finally {
    closeSync(second);
    rmSync(directory, { recursive: true });
  }
});
