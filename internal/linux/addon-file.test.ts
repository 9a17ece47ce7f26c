import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openSharedAddon } from './addon-file.ts';
import { needsRoot } from './program/child-run.fixture.ts';

const addon = Buffer.alloc(200_000, 'an addon');
const NOBODY = 65534;

function withDirectory(action: (directory: string) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'addon-file-'));
  try {
    action(directory);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The inode and the content of what is opened. */
function open(directory: string, bytes: Buffer = addon): { inode: number; text: Buffer } {
  const fd = openSharedAddon(directory, 'a.node', bytes, () => {});
  try {
    return { inode: fstatSync(fd).ino, text: readFileSync(`/proc/self/fd/${fd}`) };
  } finally {
    closeSync(fd);
  }
}

test('openSharedAddon: the second process has the file of the first, in a directory for one user', () => {
  withDirectory((parent) => {
    const directory = join(parent, 'd');
    const first = open(directory);
    assert.ok(first.text.equals(addon));
    assert.equal(open(directory).inode, first.inode);
    assert.equal(statSync(directory).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(directory), ['a.node']);
  });
});

const others: [name: string, bytes: Buffer][] = [
  ['is shorter', addon.subarray(1)],
  ['is longer', Buffer.concat([addon, Buffer.from('x')])],
  ['differs in its last byte', Buffer.concat([addon.subarray(0, -1), Buffer.from('x')])],
  ['is empty', Buffer.alloc(0)],
];

for (const [name, bytes] of others) {
  test(`openSharedAddon: a file that ${name} is replaced, not written to`, () => {
    withDirectory((parent) => {
      const directory = join(parent, 'd');
      const old = open(directory, bytes);
      const now = open(directory);
      assert.notEqual(now.inode, old.inode);
      assert.ok(now.text.equals(addon));
      assert.deepEqual(readdirSync(directory), ['a.node']);
    });
  });
}

test('openSharedAddon: what is left of a process that died while it wrote is no obstacle', () => {
  withDirectory((directory) => {
    writeFileSync(join(directory, `a.node.${process.pid}`), 'half', { mode: 0o500 });
    assert.ok(open(directory).text.equals(addon));
    assert.deepEqual(readdirSync(directory), ['a.node']);
  });
});

test('openSharedAddon: nothing is made where nothing may be mapped', () => {
  withDirectory((parent) => {
    const probe = () => {
      throw new Error('noexec');
    };
    const directory = join(parent, 'd');
    assert.throws(() => openSharedAddon(directory, 'a.node', addon, probe), { message: 'noexec' });
    assert.deepEqual(readdirSync(parent), []);
  });
});

/** What another user may have put there before, and what is said to it. */
const planted: [name: string, plant: (directory: string) => void, message: RegExp][] = [
  [
    'a directory that others may enter',
    (directory) => chmodSync(directory, 0o711),
    /^\S+\/d: of uid 0, mode 711: not this user's alone$/,
  ],
  [
    'a directory of another user',
    (directory) => chownSync(directory, NOBODY, NOBODY),
    /^\S+\/d: of uid 65534, mode 700: not this user's alone$/,
  ],
  [
    'a file of another user',
    (directory) => {
      writeFileSync(join(directory, 'a.node'), addon, { mode: 0o700 });
      chownSync(join(directory, 'a.node'), NOBODY, NOBODY);
    },
    /a\.node: of uid 65534, mode 700: not this user's alone$/,
  ],
  [
    'a file that others may write',
    (directory) => {
      writeFileSync(join(directory, 'a.node'), addon);
      chmodSync(join(directory, 'a.node'), 0o722);
    },
    /a\.node: of uid 0, mode 722: not this user's alone$/,
  ],
  [
    'a link in place of the directory',
    (directory) => {
      rmSync(directory, { recursive: true });
      mkdirSync(`${directory}2`, { mode: 0o700 });
      symlinkSync(`${directory}2`, directory);
    },
    /^(?:ENOTDIR|ELOOP): /,
  ],
  [
    'a link in place of the file',
    (directory) => {
      writeFileSync(join(directory, 'other'), addon, { mode: 0o700 });
      symlinkSync('other', join(directory, 'a.node'));
    },
    /^ELOOP: /,
  ],
];

for (const [name, plant, message] of planted) {
  test(`openSharedAddon refuses ${name}`, { skip: needsRoot }, () => {
    withDirectory((parent) => {
      const directory = join(parent, 'd');
      mkdirSync(directory, { mode: 0o700 });
      plant(directory);
      assert.throws(() => open(directory), { message });
    });
  });
}

test('openSharedAddon: processes that begin at the same time all get it', () => {
  withDirectory((parent) => {
    const module = JSON.stringify(new URL('./addon-file.ts', import.meta.url).href);
    const source = `import { fstatSync, readFileSync } from 'node:fs';
      import { openSharedAddon } from ${module};
      const addon = Buffer.alloc(200_000, 'an addon');
      const fd = openSharedAddon(process.argv[1], 'a.node', addon, () => {});
      console.log(readFileSync('/proc/self/fd/' + fd).equals(addon));`;
    const script = `for n in 1 2 3 4; do "$0" --input-type=module-typescript -e "$1" "$2" & done; wait`;
    const args = ['-c', script, process.execPath, source, join(parent, 'd')];
    const { stdout, stderr } = spawnSync('sh', args, { encoding: 'utf8' });
    assert.equal(stderr, '');
    assert.equal(stdout, 'true\n'.repeat(4));
    assert.deepEqual(readdirSync(join(parent, 'd')), ['a.node']);
  });
});
