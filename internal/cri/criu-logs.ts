/**
 * What CRIU wrote down of checkpoints and restores that failed. Their errors name the file, which is of no use if it is gone
 * (checkpoint-restore/criu issue 2366): the last ones stay.
 */
import { mkdir, mkdtemp, readdir, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoNameOf, TsError } from '../errors/index.ts';

/** How many stay: each is some hundred KiB. */
export const KEPT_LOGS = 16;

export class CriuLogs {
  readonly #parent: string;
  readonly #used = new Set<string>();

  /** `parent` is the directory of the logs; it is made when there is one. */
  constructor(parent: string) {
    this.#parent = parent;
  }

  /** Does work of CRIU's that has its log in `directory`. When it succeeds the directory is removed, else what is in it stays. */
  async during<T>(id: string, work: (directory: string) => Promise<T>): Promise<T> {
    await mkdir(this.#parent, { recursive: true, mode: 0o700 });
    const directory = await mkdtemp(join(this.#parent, `${id}-`));
    this.#used.add(directory);
    try {
      await this.#removeOldest();
      const result = await work(directory);
      await rm(directory, { recursive: true, force: true });
      return result;
    } catch (thrown) {
      const error = TsError.from(thrown);
      await rmdir(directory).catch((cleanup: unknown) => {
        const isKept = ['ENOTEMPTY', 'ENOENT'].includes(errnoNameOf(cleanup) ?? '');
        if (!isKept) error.cleanup.push(TsError.from(cleanup));
      });
      throw error;
    } finally {
      this.#used.delete(directory);
    }
  }

  /** Also of those of an earlier daemon, which was killed at its work. */
  async #removeOldest(): Promise<void> {
    const paths = (await readdir(this.#parent)).map((name) => join(this.#parent, name));
    const unused = paths.filter((path) => !this.#used.has(path));
    const dated = await Promise.all(
      unused.map(async (path) => ({ path, atMs: (await stat(path)).mtimeMs })),
    );
    dated.sort((a, b) => b.atMs - a.atMs);
    const removals = dated.slice(KEPT_LOGS - 1).map(async ({ path }) => {
      await rm(path, { recursive: true, force: true });
    });
    await Promise.all(removals);
  }
}
