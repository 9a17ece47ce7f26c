import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFifo } from './fifo.ts';

test('makeFifo: makes a fifo with its mode, and refuses a name that is taken', () => {
  const directory = mkdtempSync(join(tmpdir(), 'fifo-'));
  const path = join(directory, 'log');
  makeFifo(path, 0o700);
  assert.equal(statSync(path).isFIFO(), true);
  assert.equal(statSync(path).mode & 0o777, 0o700);
  assert.throws(() => makeFifo(path, 0o700), {
    kind: 'AlreadyExists',
    message: `make fifo ${path}: EEXIST`,
  });
  rmSync(directory, { recursive: true });
});
