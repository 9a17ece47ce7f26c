import { mkdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isErrno, TsError } from '../errors/index.ts';
import type { WorkerPool } from './worker-pool.ts';

/** The directory `snapshots` of a driver: one directory for each id. */
export class SnapshotDirectories {
  readonly #path: string;
  readonly #workers: WorkerPool;

  /** Makes it when absent, for root only: layers hold set-id programs (CVE-2021-41103). */
  constructor(root: string, workers: WorkerPool) {
    this.#path = join(root, 'snapshots');
    this.#workers = workers;
    try {
      mkdirSync(this.#path, { recursive: true, mode: 0o700 });
    } catch (error) {
      throw TsError.from(error, `make directory ${this.#path}`);
    }
  }

  path(id: bigint, ...parts: string[]): string {
    return join(this.#path, String(id), ...parts);
  }

  async ids(): Promise<bigint[]> {
    const names = await readdir(this.#path);
    return names.filter((name) => /^[1-9][0-9]*$/.test(name)).map(BigInt);
  }

  /** Deletes a directory with all in it, in a worker thread. */
  async remove(id: bigint): Promise<void> {
    try {
      await this.#workers.run({ kind: 'remove', path: this.path(id) });
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return; // it was never made
      throw TsError.from(error).within(`remove snapshot directory ${this.path(id)}`);
    }
  }
}
