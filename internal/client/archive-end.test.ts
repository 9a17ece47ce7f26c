import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ArchiveEnd } from './archive-end.ts';

/** A header with a size of `size`, and the entry's padded bytes: zeros, which are no end inside of an entry. */
function entry(size: number, isBase256 = false): Buffer {
  const header = Buffer.alloc(512);
  header.write('name');
  if (isBase256) {
    header[124] = 0x80;
    header.writeBigUInt64BE(BigInt(size), 128);
  } else {
    header.write(size.toString(8).padStart(11, '0'), 124);
  }
  return Buffer.concat([header, Buffer.alloc(Math.ceil(size / 512) * 512)]);
}

const archive = Buffer.concat([entry(2000), entry(0), entry(513, true), entry(512)]);

for (const pieceBytes of [1, 7, 512, 513, 100_000]) {
  test(`ArchiveEnd: the end is where a header would be, in pieces of ${pieceBytes} bytes`, () => {
    const end = new ArchiveEnd();
    for (let at = 0; at < archive.length; at += pieceBytes) {
      end.push(archive.subarray(at, at + pieceBytes));
      assert.equal(end.isReached, false);
    }
    end.push(Buffer.alloc(512));
    assert.equal(end.isReached, true);
    end.push(Buffer.alloc(512));
    assert.equal(end.isReached, true);
  });
}
