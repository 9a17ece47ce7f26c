import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Process } from '../oci/index.ts';
import { findHome, withHome } from './home-directory.ts';

const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nbin:x:1:1:bin::/bin/false\nweb:x:33:33:w:/srv:/x\n';

const HOMES: [number, string | undefined][] = [
  [0, '/root'],
  [1, undefined],
  [33, '/srv'],
  [7, undefined],
];
for (const [uid, home] of HOMES) {
  test(`findHome of uid ${uid}`, () => assert.equal(findHome(PASSWD, uid), home));
}

function inRoot(prepare: (root: string) => void, check: (root: string) => void): void {
  const root = mkdtempSync(join(tmpdir(), 'home-'));
  try {
    mkdirSync(join(root, 'etc'));
    prepare(root);
    check(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

const user = (env: string[]): Process => ({
  user: { uid: 0, gid: 0 },
  args: ['x'],
  cwd: '/',
  env,
});

test('withHome: HOME of the configuration stays', () => {
  assert.deepEqual(withHome(user(['HOME=/x']), '/nonexistent').env, ['HOME=/x']);
});

test('withHome: the directory of /etc/passwd, / without one', () => {
  inRoot(
    (root) => writeFileSync(join(root, 'etc/passwd'), PASSWD),
    (root) => assert.deepEqual(withHome(user([]), root).env, ['HOME=/root']),
  );
  inRoot(
    () => {},
    (root) => assert.deepEqual(withHome(user(['A=1']), root).env, ['A=1', 'HOME=/']),
  );
});

test('withHome: a symlink to a file of the host is followed inside the root only', () => {
  inRoot(
    (root) => symlinkSync('/etc/passwd', join(root, 'etc/passwd')),
    (root) => assert.deepEqual(withHome(user([]), root).env, ['HOME=/']),
  );
});
