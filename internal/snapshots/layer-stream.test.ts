import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { readLayer } from './layer-stream.ts';

function fileOf(t: TestContext, bytes: Buffer): number {
  const dir = mkdtempSync(join(tmpdir(), 'layer-'));
  writeFileSync(join(dir, 'blob'), bytes);
  const fd = openSync(join(dir, 'blob'), 'r');
  t.after(() => {
    closeSync(fd);
    rmSync(dir, { recursive: true });
  });
  return fd;
}

const plain = Buffer.from('layer '.repeat(200_000));
const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
const blobs: [string, Buffer][] = [
  ['uncompressed', plain],
  ['gzip', gzipSync(plain)],
  [
    'gzip in two members',
    Buffer.concat([gzipSync(plain.subarray(0, 9)), gzipSync(plain.subarray(9))]),
  ],
  ['zstd', zstdCompressSync(plain)],
  [
    'zstd in two frames',
    Buffer.concat([zstdCompressSync(plain.subarray(0, 9)), zstdCompressSync(plain.subarray(9))]),
  ],
  ['zstd after a skippable frame', Buffer.concat([skippable, zstdCompressSync(plain)])],
];
for (const [what, blob] of blobs) {
  test(`readLayer: ${what}`, async (t) => {
    const chunks: Buffer[] = [];
    const read = await readLayer(fileOf(t, blob), (chunk) => void chunks.push(Buffer.from(chunk)));
    assert.ok(Buffer.concat(chunks).equals(plain));
    const hex = createHash('sha256').update(plain).digest('hex');
    assert.deepEqual(read, { diffId: `sha256:${hex}`, sizeBytes: plain.length });
  });
}

test('readLayer: zstd that is larger than all buffers, with much and with little to undo', async (t) => {
  const parts = [randomBytes(3_000_001), Buffer.alloc(5_000_000, 'a'), randomBytes(700_000), plain];
  const all = Buffer.concat(parts);
  const frames = Buffer.concat(parts.map((part) => zstdCompressSync(part)));
  for (const blob of [zstdCompressSync(all), frames]) {
    const hash = createHash('sha256');
    const read = await readLayer(fileOf(t, blob), (chunk) => void hash.update(chunk));
    const diffId = `sha256:${createHash('sha256').update(all).digest('hex')}`;
    assert.deepEqual(read, { diffId, sizeBytes: all.length });
    assert.equal(`sha256:${hash.digest('hex')}`, diffId);
  }
});

test('readLayer: an error of who takes the layer is passed on, whatever the compression', async (t) => {
  for (const [, blob] of blobs) {
    const refuse = (): never => {
      throw new Error('no room');
    };
    await assert.rejects(readLayer(fileOf(t, blob), refuse), { message: 'no room' });
  }
});

const damaged: [string, Buffer, RegExp][] = [
  [
    'gzip that is cut',
    gzipSync(plain).subarray(0, -10),
    /^decompress gzip: unexpected end of file$/,
  ],
  [
    'zstd that is cut',
    zstdCompressSync(plain).subarray(0, -3),
    /^decompress zstd: unexpected end of file$/,
  ],
  [
    'zstd that is cut between two blocks',
    zstdCompressSync(randomBytes(600_000)).subarray(0, 300_000),
    /^decompress zstd: unexpected end of file$/,
  ],
  [
    'zstd with something else behind it',
    Buffer.concat([zstdCompressSync(plain), Buffer.from('something else')]),
    /^decompress zstd: something else follows the last frame$/,
  ],
  ['zstd that was changed', zstdCompressSync(plain).fill(0xff, 8, 30), /^decompress zstd: /],
  ['gzip that was changed', gzipSync(plain).fill(0xff, 20, 60), /^decompress gzip: /],
];
for (const [what, blob, message] of damaged) {
  test(`readLayer: ${what} is DataLoss`, async (t) => {
    await assert.rejects(
      readLayer(fileOf(t, blob), () => {}),
      { kind: 'DataLoss', message },
    );
  });
}

test('readLayer: an unknown compression is taken as it is', async (t) => {
  const blob = deflateSync(plain);
  assert.equal((await readLayer(fileOf(t, blob), () => {})).sizeBytes, blob.length);
});
