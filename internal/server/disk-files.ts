import { type BigIntStats, lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno, TsError } from '../errors/index.ts';

/** The unit of `st_blocks` (man 2 stat). */
const BLOCK_BYTES = 512n;

/**
 * Measures what files occupy on a disk, as `du` does: blocks and not lengths, a file with several names once. What vanishes
 * meanwhile counts nothing: a daemon may be at work.
 */
export class DiskFiles {
  readonly #seen = new Set<string>();

  /** Bytes of a file, or of a directory with all that is in it, that were not counted before. */
  measure(path: string): number {
    return Number(this.#measure(path));
  }

  #measure(path: string): bigint {
    const stats = statsOf(path);
    if (stats === undefined) return 0n;
    const key = `${stats.dev} ${stats.ino}`;
    if (this.#seen.has(key)) return 0n;
    this.#seen.add(key);
    let bytes = stats.blocks * BLOCK_BYTES;
    if (stats.isDirectory()) {
      for (const name of namesIn(path)) bytes += this.#measure(join(path, name));
    }
    return bytes;
  }
}

function statsOf(path: string): BigIntStats | undefined {
  try {
    return lstatSync(path, { bigint: true });
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw TsError.from(error, `stat ${path}`);
  }
}

/** Names in a directory, sorted; of one that is not there none. */
export function namesIn(path: string): string[] {
  try {
    return readdirSync(path).sort();
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return [];
    throw TsError.from(error, `read directory ${path}`);
  }
}
