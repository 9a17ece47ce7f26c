import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { TarEntry } from './tar-entry.ts';
import { paxRecord } from './tar-pax.ts';
import { TarReader } from './tar-reader.ts';
import { padding, tarEnd, tarHeader } from './tar-writer.ts';

interface Found extends TarEntry {
  data: Buffer;
}

/** Reads an archive in pieces of `pieceBytes`. */
function read(archive: Buffer, pieceBytes = archive.length): Found[] {
  const found: Found[] = [];
  const reader = new TarReader({
    entry: (entry) => void found.push({ ...entry, data: Buffer.alloc(0) }),
    data(chunk) {
      const last = found.at(-1);
      assert.ok(last);
      last.data = Buffer.concat([last.data, chunk]);
    },
    end() {},
  });
  for (let at = 0; at < archive.length; at += pieceBytes) {
    reader.push(archive.subarray(at, at + pieceBytes));
  }
  reader.finish();
  return found;
}

const base: TarEntry = {
  type: 'file',
  path: 'file',
  linkPath: '',
  mode: 0o4755,
  uid: 1,
  gid: 2,
  dataBytes: 0,
  sizeBytes: 0,
  mtimeNs: 1_000_000_000n,
  devMajor: 0,
  devMinor: 0,
  xattrs: new Map(),
  sparse: undefined,
};

const entries: [string, Partial<TarEntry>][] = [
  ['a plain file', {}],
  ['a path of 100 bytes', { path: 'p'.repeat(100) }],
  ['a path with a prefix', { path: `${'d'.repeat(120)}/${'f'.repeat(90)}` }],
  ['a path of 4000 bytes', { path: `${'x'.repeat(200)}/`.repeat(20).slice(0, -1) }],
  ['a path that is not UTF-8', { path: 'caf\xe9\xff' }],
  ['owners beyond seven octal digits', { uid: 0o7777777 + 1, gid: 4_000_000_000 }],
  ['a time before 1970', { mtimeNs: -5_000_000_000n }],
  ['a time after 2242', { mtimeNs: 9_000_000_000_000_000_000n }],
  ['a long symlink', { type: 'symlink', linkPath: `/${'t'.repeat(300)}`, mode: 0o777 }],
  ['a hard link', { type: 'hard-link', linkPath: 'other' }],
  ['a device', { type: 'character-device', devMajor: 4095, devMinor: 1_048_575 }],
  ['a fifo', { type: 'fifo' }],
  [
    'binary attributes',
    { xattrs: new Map([['security.capability', Buffer.from([1, 0, 0, 2, 255, 0, 10, 61])]]) },
  ],
];
for (const [what, change] of entries) {
  test(`TarReader: ${what} comes back from tarHeader`, () => {
    const entry = { ...base, ...change };
    const archive = Buffer.concat([tarHeader(entry), tarEnd()]);
    const [found, ...more] = read(archive, 100);
    assert.equal(more.length, 0);
    assert.deepEqual(found, { ...entry, data: Buffer.alloc(0) });
  });
}

test('TarReader: any cut into pieces gives the same', () => {
  const data = Buffer.from(Array.from({ length: 1500 }, (_, i) => i & 255));
  const size = { dataBytes: data.length, sizeBytes: data.length };
  const archive = Buffer.concat([
    tarHeader({ ...base, ...size, path: 'a'.repeat(300) }),
    data,
    padding(data.length),
    tarHeader({ ...base, type: 'directory', path: 'd' }),
    tarEnd(),
  ]);
  const whole = read(archive);
  assert.deepEqual(whole[0]?.data, data);
  for (const piece of [1, 7, 511, 512, 513, 1000]) assert.deepEqual(read(archive, piece), whole);
});

test('TarReader: what follows the end is not looked at', () => {
  const archive = Buffer.concat([tarHeader(base), tarEnd(), Buffer.alloc(5000, 1)]);
  assert.equal(read(archive).length, 1);
});

function header(change: (block: Buffer) => void): Buffer {
  const block = tarHeader(base);
  change(block);
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (const byte of block) sum += byte;
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

function pax(type: string, ...records: Buffer[]): Buffer {
  const body = Buffer.concat(records);
  const head = header((block) => {
    block.write(type, 156);
    block.write(`${body.length.toString(8).padStart(11, '0')}\0`, 124);
  });
  return Buffer.concat([head, body, padding(body.length)]);
}

const record = (key: string, value: string): Buffer => paxRecord(key, Buffer.from(value));

const malformed: [string, Buffer, string][] = [
  ['no tar', Buffer.alloc(512, 'x'), 'tar header: number "xxxxxxxx" at byte 148'],
  [
    'a changed header',
    Buffer.concat([tarHeader(base).fill(0x37, 3, 4), tarEnd()]),
    'tar archive: header checksum mismatch at byte 0',
  ],
  [
    'a lone block of zeros',
    Buffer.concat([Buffer.alloc(512), tarHeader(base)]),
    'tar archive: data after the end at byte 512',
  ],
  [
    'an unknown type',
    Buffer.concat([header((b) => b.write('Z', 156)), tarEnd()]),
    'tar archive: typeflag "Z" at byte 0',
  ],
  [
    'a broken pax record',
    Buffer.concat([pax('x', Buffer.from('9 path=a')), tarHeader(base)]),
    'pax header: malformed record at byte 0',
  ],
  [
    'a NUL in a path',
    Buffer.concat([pax('x', record('path', 'a\0b')), tarHeader(base)]),
    'tar archive: NUL byte in a path at byte 1024',
  ],
  [
    'a huge extended header',
    header((b) => {
      b.write('x', 156);
      b.write('77777777777\0', 124);
    }),
    'tar archive: extended header of 8589934591 bytes at byte 0',
  ],
  [
    'a pile of extended headers',
    Buffer.concat(Array.from({ length: 17 }, () => pax('g', record('comment', 'c')))),
    'tar archive: more than 16 extended headers before an entry at byte 16384',
  ],
  [
    'the owner -1',
    Buffer.concat([pax('x', record('uid', '4294967295')), tarHeader(base)]),
    'tar archive: uid 4294967295 at byte 1024',
  ],
  [
    'a size beyond 2^53',
    Buffer.concat([pax('x', record('size', '9007199254740993')), tarHeader(base)]),
    'pax header: size "9007199254740993"',
  ],
  [
    'overlapping sparse runs',
    Buffer.concat([
      pax('x', record('GNU.sparse.map', '5,1,0,1'), record('GNU.sparse.size', '10')),
      tarHeader(base),
    ]),
    'sparse map: runs overlap',
  ],
  [
    'a sparse run beyond the file',
    Buffer.concat([
      pax('x', record('GNU.sparse.map', '5,9'), record('GNU.sparse.size', '10')),
      tarHeader(base),
    ]),
    'sparse map: run beyond the file',
  ],
];
for (const [what, archive, message] of malformed) {
  test(`TarReader: ${what} is refused`, () => {
    assert.throws(() => read(archive), { kind: 'InvalidArgument', message });
  });
}

const cut: [string, Buffer][] = [
  ['in a header', tarHeader(base).subarray(0, 300)],
  [
    'in data',
    Buffer.concat([tarHeader({ ...base, dataBytes: 600, sizeBytes: 600 }), Buffer.alloc(100)]),
  ],
  ['after a pax header', pax('x', record('path', 'a'))],
];
for (const [where, archive] of cut) {
  test(`TarReader: an archive that ends ${where} is DataLoss`, () => {
    const message = `tar archive ends early, after ${archive.length} bytes`;
    assert.throws(() => read(archive), { kind: 'DataLoss', message });
  });
}

test('TarReader: a global header is passed over, whatever it holds', () => {
  const archive = Buffer.concat([
    pax('g', record('uid', '77')),
    tarHeader(base),
    pax('g', Buffer.from('no record')),
    pax('x', record('uid', '78')),
    tarHeader(base),
    tarEnd(),
  ]);
  for (const pieceBytes of [archive.length, 700, 1]) {
    assert.deepEqual(
      read(archive, pieceBytes).map(({ uid }) => uid),
      [1, 78],
    );
  }
});

for (const format of ['gnu', 'ustar', 'pax', 'v7', 'oldgnu']) {
  test(`TarReader: what GNU tar writes in the format ${format}`, (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'tar-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const long = 'n'.repeat(format === 'v7' || format === 'ustar' ? 60 : 180);
    mkdirSync(join(dir, 'src', long), { recursive: true });
    writeFileSync(join(dir, 'src', long, 'file'), 'content');
    linkSync(join(dir, 'src', long, 'file'), join(dir, 'src/zlink'));
    symlinkSync('target', join(dir, 'src/sym'));
    utimesSync(join(dir, 'src', long), 1, 1.5);
    execFileSync('tar', [
      '-C',
      join(dir, 'src'),
      `--format=${format}`,
      '-cf',
      join(dir, 'out.tar'),
      '.',
    ]);
    const archive = execFileSync('cat', [join(dir, 'out.tar')]);
    const byPath = new Map(read(archive).map((entry) => [entry.path, entry]));
    // Which of two names comes first, and has the data, is up to the directory's order.
    const [file, link] = [byPath.get(`./${long}/file`), byPath.get('./zlink')];
    const isFirst = file?.type === 'file';
    assert.equal((isFirst ? file : link)?.data.toString(), 'content');
    assert.equal((isFirst ? link : file)?.linkPath, isFirst ? `./${long}/file` : './zlink');
    assert.equal(byPath.get('./sym')?.linkPath, 'target');
    assert.equal(byPath.get(`./${long}/`)?.type, 'directory');
    assert.equal(
      byPath.get(`./${long}/`)?.mtimeNs,
      format === 'pax' ? 1_500_000_000n : 1_000_000_000n,
    );
  });
}

for (const options of [
  ['--format=gnu'],
  ['--format=pax', '--sparse-version=0.0'],
  ['--format=pax', '--sparse-version=0.1'],
  ['--format=pax', '--sparse-version=1.0'],
]) {
  test(`TarReader: a sparse file with ${options.join(' ')}`, (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'tar-'));
    t.after(() => rmSync(dir, { recursive: true }));
    const path = join(dir, 'sparse');
    const runs: [number, string][] = Array.from({ length: 40 }, (_, i) => [
      i * (1 << 20),
      `run ${i}`,
    ]);
    writeFileSync(path, '');
    for (const [offset, text] of runs) {
      execFileSync('dd', [`of=${path}`, 'bs=1', `seek=${offset}`, 'conv=notrunc'], {
        input: text,
        stdio: ['pipe', 'ignore', 'ignore'],
      });
    }
    truncateSync(path, 60 << 20);
    const archive = execFileSync('tar', ['-C', dir, ...options, '-S', '-cf', '-', 'sparse'], {
      maxBuffer: 1 << 26,
    });
    const [found] = read(archive, 777);
    assert.equal(found?.path, 'sparse');
    assert.equal(found.sizeBytes, 60 << 20);
    const whole = Buffer.alloc(found.sizeBytes);
    let taken = 0;
    for (const { offset, length } of found.sparse ?? []) {
      found.data.copy(whole, offset, taken, taken + length);
      taken += length;
    }
    for (const [offset, text] of runs)
      assert.equal(whole.toString('latin1', offset, offset + text.length), text);
  });
}
