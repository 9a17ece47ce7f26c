// Hostile layers: none may touch anything outside of its snapshot, or cost more than its size explains.
//
// CVE-2021-32760 (chmod through a link of the archive), CVE-2018-15664 and its kin (write through a link), CVE-2026-95838
// (opaque whiteouts over and over), decompression bombs. Each archive is applied to a plain directory that has files of
// lower layers and to an overlay's upper directory, next to a directory that stands for the host.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { TsError } from '../../internal/errors/index.ts';
import type { Applied } from '../../internal/snapshots/job.ts';
import { paxRecord } from '../../internal/snapshots/tar-pax.ts';
import { padding, tarEnd } from '../../internal/snapshots/tar-writer.ts';
import { WorkerPool } from '../../internal/snapshots/worker-pool.ts';
import {
  directory,
  type EntryInput,
  file,
  hardLink,
  layerOf,
  symlink,
} from '../fixtures/layer-entries.ts';

const skip = process.getuid?.() === 0 ? false : 'only root can make devices and owners';
let workers: WorkerPool;
before(() => {
  workers = new WorkerPool(1);
});
after(() => workers.close());

type Kind = 'plain' | 'overlay';

interface Place {
  /** Directory that the layer is applied to. */
  readonly target: string;
  /** Stands for the host: links of the archive point here. */
  readonly host: string;
  apply(archive: Buffer, limits?: { maxBytes?: number; maxEntries?: number }): Promise<Applied>;
}

function place(t: TestContext, kind: Kind): Place {
  const dir = mkdtempSync(join(tmpdir(), 'attack-'));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  const [host, target, lower] = ['host', 'target', 'lower'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [host, target, lower]) mkdirSync(path);
  writeFileSync(join(host, 'secret'), 'secret', { mode: 0o600 });
  mkdirSync(join(host, 'tree'));
  writeFileSync(join(host, 'tree/leaf'), 'leaf');
  // What lower layers brought: a link out of the root, as an image may well have.
  const base = kind === 'plain' ? target : lower;
  symlinkSync(host, join(base, 'out'));
  mkdirSync(join(base, 'dir'));
  writeFileSync(join(base, 'dir/old'), 'old');
  return {
    target,
    host,
    async apply(archive, { maxBytes = 1 << 30, maxEntries = 1_000_000 } = {}) {
      const blob = join(dir, 'blob');
      writeFileSync(blob, archive);
      const fd = openSync(blob, 'r');
      const lowers = kind === 'overlay' ? [lower] : [];
      const tree = { root: target, kind, lowers, hasUserXattrs: false };
      const limits = { maxBytes, maxEntries };
      try {
        return await workers.run({ kind: 'apply', fd, tree, limits, isSynced: false });
      } finally {
        closeSync(fd);
      }
    },
  };
}

/** All that could be seen to have changed on the host: names, kinds, modes, owners, times, contents. */
function fingerprint(host: string): string {
  const listing = execFileSync('find', [host, '-printf', '%P %y %m %U:%G %s %T@ %C@ %n %l\n'], {
    encoding: 'utf8',
  });
  return `${listing}${readFileSync(join(host, 'secret'), 'utf8')}`;
}

const up = '../'.repeat(40);

/** An archive by what it tries; HOST is replaced by the directory that stands for the host. */
const escapes: [string, EntryInput[]][] = [
  ['a path with ..', [file(`${up}HOST/new`, 'x')]],
  ['an absolute path', [file('/HOST/secret', 'x')]],
  ['a directory entry for the parent', [directory('..', 0o777), directory('a/../..', 0o777)]],
  [
    'a file through a link of its own',
    [symlink('l', 'HOST'), file('l/secret', 'x'), file('l/new', 'x')],
  ],
  ['a file through a relative link', [symlink('l', `${up}HOST`), file('l/secret', 'x')]],
  [
    'a file through a chain of links',
    [symlink('a', 'b'), symlink('b', 'c'), symlink('c', 'HOST'), file('a/new', 'x')],
  ],
  [
    'a file through a link of a lower layer',
    [file('out/secret', 'x'), directory('out/tree', 0o777)],
  ],
  ['a link that is then a file', [symlink('l', 'HOST/secret'), file('l', 'x')]],
  [
    'a link that is then a directory',
    [symlink('l', 'HOST/tree'), directory('l', 0o777), file('l/leaf', 'x')],
  ],
  [
    'a directory that becomes a link between its entries',
    [directory('d'), file('d/a', 'x'), symlink('d', 'HOST'), file('d/secret', 'x')],
  ],
  [
    'a directory renamed by case of path spelling',
    [directory('d'), symlink('d/./', 'HOST'), file('./d//secret', 'x')],
  ],
  [
    'mode and owner of a link',
    [{ ...symlink('l', 'HOST/secret'), mode: 0o4777, uid: 1000, gid: 1000 }],
  ],
  [
    'mode through a hard link to a link',
    [symlink('s', 'HOST/secret'), { ...hardLink('h', 's'), mode: 0o4777, uid: 1000 }],
  ],
  ['a hard link to a file outside', [hardLink('h', `${up}HOST/secret`)]],
  ['a hard link to an absolute path', [hardLink('h', 'HOST/secret')]],
  ['a hard link through a link', [symlink('l', 'HOST'), hardLink('h', 'l/secret')]],
  [
    'a hard link to a link, written to',
    [symlink('l', 'HOST/secret'), hardLink('h', 'l'), file('h', 'x')],
  ],
  ['a whiteout outside', [file(`${up}HOST/.wh.secret`), file('out/.wh.secret')]],
  ['a whiteout through a link', [symlink('l', 'HOST'), file('l/.wh.secret'), file('l/.wh.tree')]],
  [
    'an opaque whiteout through a link',
    [symlink('l', 'HOST'), file('l/.wh..wh..opq'), file('out/.wh..wh..opq')],
  ],
  ['a whiteout of a link', [symlink('l', 'HOST/tree'), file('.wh.l')]],
  [
    'a device through a link',
    [symlink('l', 'HOST'), { path: 'l/null', type: 'character-device', devMajor: 1, devMinor: 3 }],
  ],
  ['a fifo through a link', [symlink('l', 'HOST'), { path: 'l/fifo', type: 'fifo' }]],
  [
    'attributes through a link',
    [{ ...symlink('l', 'HOST/secret'), xattrs: new Map([['trusted.x', Buffer.from('y')]]) }],
  ],
  ['a magic link of /proc', [symlink('l', '/proc/self/root/HOST'), file('l/new', 'x')]],
  ['a loop of links', [symlink('a', 'b'), symlink('b', 'a'), file('a/x', 'x')]],
  ['a link to the root and ..', [symlink('r', '/'), file(`r/${up}HOST/new`, 'x')]],
];
for (const kind of ['plain', 'overlay'] as const) {
  for (const [what, entries] of escapes) {
    test(`${kind}: ${what} reaches nothing outside`, { skip }, async (t) => {
      const { host, apply } = place(t, kind);
      const before = fingerprint(host);
      const at = (text: string): string => text.replaceAll('HOST', host);
      const archive = layerOf(
        entries.map((entry) => ({
          ...entry,
          path: at(entry.path),
          linkPath: at(entry.linkPath ?? ''),
        })),
      );
      // Refused or contained: both are right, as long as the host is as it was.
      await apply(archive).catch((error: unknown) => {
        assert.ok(error instanceof TsError, String(error));
        assert.doesNotMatch(error.message, /EBADF|internal error/);
      });
      assert.equal(fingerprint(host), before);
    });
  }

  for (const name of ['', '.', '..']) {
    test(`${kind}: the whiteout ${JSON.stringify(`.wh.${name}`)} is refused`, {
      skip,
    }, async (t) => {
      const { apply, target } = place(t, kind);
      const message = `whiteout dir/.wh.${name}: names no file`;
      await assert.rejects(apply(layerOf([file(`dir/.wh.${name}`)])), {
        kind: 'InvalidArgument',
        message,
      });
      assert.ok(existsSync(target));
    });
  }

  test(`${kind}: 100 000 opaque whiteouts over a large directory take linear time`, {
    skip,
  }, async (t) => {
    const { apply } = place(t, kind);
    const files = Array.from({ length: 3000 }, (_, i) => file(`big/${i}`));
    const opaque = Array.from({ length: 100_000 }, () => file('big/.wh..wh..opq'));
    const startMs = performance.now();
    await apply(layerOf([...files, ...opaque]));
    const ms = performance.now() - startMs;
    // Walking 3000 files 100 000 times would take minutes at the least.
    assert.ok(ms < 20_000, `${Math.round(ms)} ms`);
  });

  test(`${kind}: nested opaque whiteouts from below take linear time`, { skip }, async (t) => {
    const { apply } = place(t, kind);
    const paths = Array.from({ length: 300 }, (_, i) => 'd/'.repeat(i + 1));
    const deepest = paths.at(-1) ?? '';
    const files = Array.from({ length: 500 }, (_, i) => file(`${deepest}${i}`));
    const opaque = paths.reverse().map((path) => file(`${path}.wh..wh..opq`));
    const startMs = performance.now();
    await apply(layerOf([...files, ...opaque]));
    assert.ok(performance.now() - startMs < 20_000);
  });

  test(`${kind}: overlayfs' own attributes are not the image's to set`, { skip }, async (t) => {
    const { apply, target } = place(t, kind);
    const xattrs = new Map([
      ['trusted.overlay.redirect', Buffer.from('/etc')],
      ['trusted.overlay.opaque', Buffer.from('y')],
      ['user.kept', Buffer.from('1')],
    ]);
    await apply(layerOf([{ ...directory('d'), xattrs }]));
    const { getXattr } = await import('../../internal/linux/xattr.ts');
    const fd = openSync(target, 'r');
    assert.equal(getXattr(fd, 'd', 'trusted.overlay.redirect'), undefined);
    assert.equal(getXattr(fd, 'd', 'trusted.overlay.opaque'), undefined);
    assert.equal(getXattr(fd, 'd', 'user.kept')?.toString(), '1');
    closeSync(fd);
  });
}

const zeros = layerOf([{ path: 'zeros', content: '\0'.repeat(64 << 20) }]);
for (const [what, bomb] of [
  ['gzip', gzipSync(zeros)],
  ['zstd', zstdCompressSync(zeros)],
] as const) {
  test(`a bomb of ${what} is stopped at the limit`, { skip }, async (t) => {
    const { apply, target } = place(t, 'plain');
    const maxBytes = 1 << 20;
    await assert.rejects(apply(bomb, { maxBytes }), {
      kind: 'ResourceExhausted',
      message: `layer: more than ${maxBytes} bytes`,
    });
    assert.ok(statSync(join(target, 'zeros')).size <= maxBytes);
  });
}

test('global headers with a quarter of a gigabyte of records take no memory', {
  skip,
}, async (t) => {
  const { apply, target } = place(t, 'plain');
  // One member of gzip for each, so that this process never has the archive as a whole.
  const members = Array.from({ length: 64 }, (_, i) => {
    const records = paxRecord(`comment.${i}`, Buffer.alloc(4_000_000));
    const archive = Buffer.concat([extendedHeader('g', records), layerOf([file(`f${i}`)])]);
    return gzipSync(archive.subarray(0, -tarEnd().length), { level: 1 });
  });
  const bomb = Buffer.concat([...members, gzipSync(tarEnd())]);
  assert.ok(bomb.length < 2 << 20);
  writeFileSync('/proc/self/clear_refs', '5'); // the peak begins anew
  const before = peakBytes();
  await apply(bomb);
  const grown = peakBytes() - before;
  assert.ok(grown < 100 << 20, `${grown} bytes more`);
  assert.ok(existsSync(join(target, 'f63')));
});

/** Highest resident size of this process, its threads' included. */
function peakBytes(): number {
  const kib = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  return Number(kib) * 1024;
}

/** An extended header of pax: `x` for the next entry, `g` for all. */
function extendedHeader(type: 'x' | 'g', body: Buffer): Buffer {
  const head = layerOf([{ path: type, dataBytes: body.length }]).subarray(0, 512);
  head.write(type, 156);
  head.fill(0x20, 148, 156);
  const sum = head.reduce((total, byte) => total + byte, 0);
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([head, body, padding(body.length)]);
}

test('a layer of too many entries is stopped', { skip }, async (t) => {
  const { apply, target } = place(t, 'plain');
  const entries = Array.from({ length: 200 }, (_, i) => file(`f${i}`));
  await assert.rejects(apply(layerOf(entries), { maxEntries: 100 }), {
    kind: 'ResourceExhausted',
    message: 'layer: more than 100 entries',
  });
  assert.ok(readdirSync(target).length <= 102);
});

test('a sparse file of petabytes takes no space', { skip }, async (t) => {
  const { apply, target } = place(t, 'plain');
  const archive = layerOf([{ path: 'huge', dataBytes: 0 }]);
  // GNU.sparse: a file of 2^50 bytes with one run of nothing at its end.
  const body = Buffer.concat([
    paxRecord('GNU.sparse.map', Buffer.from('1125899906842624,0')),
    paxRecord('GNU.sparse.size', Buffer.from('1125899906842624')),
  ]);
  const bomb = Buffer.concat([extendedHeader('x', body), archive]);
  // ext4 has no files of that size and says so; a file system that has makes a hole.
  await apply(bomb).catch((error: unknown) => assert.match(String(error), /EFBIG/));
  const path = join(target, 'huge');
  assert.ok(!existsSync(path) || statSync(path).blocks < 100);
});
