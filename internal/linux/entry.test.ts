import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Errno } from '../errors/errno.ts';
import { OpenFlag } from './constants/file.ts';
import * as entry from './entry.ts';
import { getXattr, listXattrs, removeXattr, setXattr } from './xattr.ts';

function root(t: { after(fn: () => void): void }): { dir: string; fd: number } {
  const dir = mkdtempSync(join(tmpdir(), 'entry-'));
  const fd = openSync(dir, 'r');
  t.after(() => {
    entry.closeFd(fd);
    rmSync(dir, { recursive: true, force: true });
  });
  return { dir, fd };
}

const escapes = ['/etc/passwd', '../../../../etc/passwd', 'up/etc/passwd', 'abs/passwd'];
for (const path of escapes) {
  test(`openInRoot: ${path} stays inside the root`, (t) => {
    const { dir, fd } = root(t);
    symlinkSync('../../../../..', join(dir, 'up'));
    symlinkSync('/etc', join(dir, 'abs'));
    assert.equal(entry.openInRoot(fd, path, OpenFlag.O_RDONLY), -Errno.ENOENT);
    mkdirSync(join(dir, 'etc'));
    writeFileSync(join(dir, 'etc/passwd'), 'inside');
    const opened = entry.openInRoot(fd, path, OpenFlag.O_RDONLY);
    assert.ok(opened > 0, `errno ${-opened}`);
    assert.equal(readFileSync(opened, 'utf8'), 'inside');
    entry.closeFd(opened);
  });
}

test('openEntry: does not follow a link', (t) => {
  const { dir, fd } = root(t);
  symlinkSync('/etc/passwd', join(dir, 'link'));
  assert.equal(entry.openEntry(fd, 'link', OpenFlag.O_RDONLY), -Errno.ELOOP);
});

test('statEntry: says what was set, to the nanosecond', (t) => {
  const { fd } = root(t);
  const name = Buffer.from([0xff, 0x61]); // not UTF-8
  entry.closeFd(entry.openEntry(fd, name, OpenFlag.O_CREAT | OpenFlag.O_WRONLY, 0o600));
  entry.changeTimes(fd, name, 0n, -1n);
  entry.changeMode(fd, name, 0o4711);
  const stat = entry.statEntry(fd, name);
  assert.ok(typeof stat === 'object');
  assert.equal(stat.mtimeNs, -1n);
  assert.equal(stat.mode, 0o104711);
  assert.equal(entry.statEntry(fd, 'absent'), -Errno.ENOENT);
});

test('names: a NUL byte is refused', (t) => {
  const { fd } = root(t);
  assert.throws(() => entry.makeDirectory(fd, 'a\0b', 0o755), /NUL byte/);
});

test('xattr: bytes come back, an absent one is undefined', (t) => {
  const { dir, fd } = root(t);
  writeFileSync(join(dir, 'file'), '');
  const value = Buffer.from([0, 255, 1, 0]);
  assert.equal(setXattr(fd, 'file', 'user.bytes', value), 0);
  assert.deepEqual(getXattr(fd, 'file', 'user.bytes'), value);
  assert.ok(listXattrs(fd, 'file').includes('user.bytes'));
  assert.equal(setXattr(fd, '', 'user.large', Buffer.alloc(3000, 7)), 0);
  assert.equal(getXattr(fd, '', 'user.large')?.length, 3000);
  assert.equal(removeXattr(fd, 'file', 'user.bytes'), 0);
  assert.equal(getXattr(fd, 'file', 'user.bytes'), undefined);
});
