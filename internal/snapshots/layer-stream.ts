import { createHash } from 'node:crypto';
import { fstatSync, readSync } from 'node:fs';
import type { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { TsError } from '../errors/index.ts';
import { releaseBuffer } from '../linux/release-buffer.ts';
import { decompressZstd } from './sync-zstd.ts';

export type Compression = 'none' | 'gzip' | 'zstd';

const CHUNK_BYTES = 128 * 1024;

/**
 * Compression of a blob by its first bytes. Media types are not asked: builders mislabel layers,
 * and containerd looks at the bytes too.
 */
export function detectCompression(head: Uint8Array): Compression {
  const [a, b, c, d] = head;
  if (a === 0x1f && b === 0x8b && c === 0x08) return 'gzip';
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return 'zstd';
  // A skippable frame comes first in zstd:chunked and seekable files (RFC 8878, 3.1.2).
  if (a !== undefined && (a & 0xf0) === 0x50 && b === 0x2a && c === 0x4d && d === 0x18) {
    return 'zstd';
  }
  return 'none';
}

/**
 * Reads the blob that `fd` is open on from its start, decompressed, and hands the chunks to `take`,
 * which must use them at once. Returns digest and size of the uncompressed data.
 */
export async function readLayer(
  fd: number,
  take: (chunk: Buffer) => void,
): Promise<{ diffId: string; sizeBytes: number }> {
  const head = Buffer.alloc(4);
  const length = readSync(fd, head, 0, head.length, 0);
  const compression = detectCompression(head.subarray(0, length));
  const hash = createHash('sha256');
  let sizeBytes = 0;
  function use(chunk: Buffer): void {
    hash.update(chunk);
    sizeBytes += chunk.length;
    take(chunk);
  }
  async function consume(source: AsyncIterable<Buffer>): Promise<void> {
    for await (const chunk of source) {
      use(chunk);
      releaseBuffer(chunk);
    }
  }
  try {
    // Undoing gzip takes longer than all the rest: another thread does it meanwhile.
    if (compression === 'gzip') await pipeline(blocks(fd), decompressor('gzip'), consume);
    else if (compression === 'zstd') {
      for (const chunk of decompressZstd(fd, fstatSync(fd).size)) use(chunk);
    } else {
      for (const chunk of blocks(fd)) {
        use(chunk);
        releaseBuffer(chunk);
      }
    }
  } catch (error) {
    throw decompressionError(compression, error);
  }
  return { diffId: `sha256:${hash.digest('hex')}`, sizeBytes };
}

/**
 * The blob in pieces. Not a ReadStream: that closes the descriptor when it is destroyed, `autoClose`
 * or not, and the descriptor is its lender's to close.
 */
function* blocks(fd: number): Generator<Buffer, void, undefined> {
  for (let position = 0; ; ) {
    const block = Buffer.allocUnsafeSlow(CHUNK_BYTES);
    const length = readSync(fd, block, 0, block.length, position);
    if (length === 0) return;
    position += length;
    yield block.subarray(0, length);
  }
}

/** A stream that undoes `compression`. */
export function decompressor(compression: 'gzip' | 'zstd'): Transform {
  const options = { chunkSize: CHUNK_BYTES };
  return compression === 'gzip' ? createGunzip(options) : createZstdDecompress(options);
}

function decompressionError(compression: Compression, error: unknown): unknown {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  if (code?.startsWith('Z_') || code?.startsWith('ZSTD_') || code === 'ERR_ZLIB') {
    return new TsError('DataLoss', `decompress ${compression}: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return error;
}
