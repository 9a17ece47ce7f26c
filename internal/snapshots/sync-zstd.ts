/**
 * Zstandard in the calling thread, through buffers that are used again and again.
 *
 * Why not the stream of node:zlib: it hands each piece of 128 KiB to another thread and waits for it, and
 * gives each away in memory of its own. For zstd, which takes less time than the hash of what it
 * makes, that is most of the cost (300 MB: 32,000 futex calls, and V8's collector at work for the
 * buffers). The handle behind the stream can do the same at once; it is what zlib's functions with
 * `Sync` in their names call. Node does not document it: it is checked here, and Node is pinned.
 */
import { readSync } from 'node:fs';
import { createZstdDecompress, constants as zlib } from 'node:zlib';
import { TsError } from '../errors/index.ts';

/** A block of zstd has 128 KiB at most; what is made is to stay in the processor's cache. */
const INPUT_BYTES = 128 * 1024;
const OUTPUT_BYTES = 256 * 1024;

interface Handle {
  /** Called within `writeSync`. */
  onerror: (message: string, errno: number, code: string) => void;
  writeSync(
    flush: number,
    input: Buffer,
    inputOffset: number,
    inputLength: number,
    output: Buffer,
    outputOffset: number,
    outputLength: number,
  ): void;
}

/** The parts of node:zlib's streams that are used here. */
interface ZlibStream {
  readonly _handle?: Partial<Handle>;
  /** After a write: how much of the output is free, how much of the input is left. */
  readonly _writeState?: Uint32Array;
  close(): void;
}

function handleOf(stream: ZlibStream): { handle: Handle; state: Uint32Array } {
  const { _handle: handle, _writeState: state } = stream;
  if (typeof handle?.writeSync !== 'function' || state?.length !== 2) {
    throw new TsError('Internal', 'internal error: node:zlib has no handle to write to');
  }
  return { handle: handle as Handle, state };
}

/**
 * What the `sizeBytes` of the file that `fd` is open on are without their compression. Each piece is
 * valid until the next is asked for. Throws DataLoss when it is no zstd, is damaged or ends early.
 */
export function* decompressZstd(fd: number, sizeBytes: number): Generator<Buffer, void, undefined> {
  const stream = createZstdDecompress() as unknown as ZlibStream;
  try {
    const { handle, state } = handleOf(stream);
    let problem: TsError | undefined;
    handle.onerror = (message) => {
      problem = new TsError('DataLoss', `decompress zstd: ${message}`);
    };
    const input = Buffer.allocUnsafeSlow(INPUT_BYTES);
    const output = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
    for (let position = 0; position < sizeBytes; ) {
      const read = readSync(fd, input, 0, INPUT_BYTES, position);
      if (read === 0)
        throw new TsError('DataLoss', `decompress zstd: the file ends at ${position}`);
      position += read;
      // That it is whole is checked by the last write only.
      const flush = position < sizeBytes ? zlib.ZSTD_e_continue : zlib.ZSTD_e_end;
      for (let left = read, free = 0; left > 0 || free === 0; ) {
        handle.writeSync(flush, input, read - left, left, output, 0, OUTPUT_BYTES);
        if (problem !== undefined) throw problem;
        const before = left;
        [free = 0, left = 0] = state;
        // What is no frame is left alone without an error.
        if (left > 0 && left === before && free === OUTPUT_BYTES) {
          throw new TsError('DataLoss', 'decompress zstd: something else follows the last frame');
        }
        if (free < OUTPUT_BYTES) yield output.subarray(0, OUTPUT_BYTES - free);
      }
    }
  } finally {
    stream.close();
  }
}
