import assert from 'node:assert/strict';
import { fstatSync, openSync } from 'node:fs';
import { test } from 'node:test';
import { OwnedFd } from './fd.ts';

test('OwnedFd: closes once, and a closed one has no number', () => {
  const fd = new OwnedFd(openSync('/dev/null', 'r'));
  const { number } = fd;
  fd.close();
  assert.throws(() => fstatSync(number), { code: 'EBADF' });
  const other = openSync('/dev/null', 'r'); // takes the number
  fd.close();
  fstatSync(other);
  assert.throws(() => fd.number, { message: 'internal error: use of a closed file descriptor' });
  new OwnedFd(other).close();
});

test('OwnedFd.release: the number lives on', () => {
  const fd = new OwnedFd(openSync('/dev/null', 'r'));
  const number = fd.release();
  fd[Symbol.dispose]();
  fstatSync(number);
  new OwnedFd(number).close();
});
