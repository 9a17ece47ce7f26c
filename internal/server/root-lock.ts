import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { isErrno, TsError } from '../errors/index.ts';
import { tryLockExclusively } from '../linux/flock.ts';

/**
 * Holds a root directory for one daemon. The kernel frees the lock when the process ends, however
 * it ends; the file's content only tells others who holds it.
 */
export class RootLock implements Disposable {
  readonly #fd: number;

  /** Throws FailedPrecondition with the holder's pid while another daemon has the directory. */
  constructor(root: string) {
    const path = join(root, 'daemon.lock');
    this.#fd = openSync(path, 'a+', 0o600);
    try {
      if (!tryLockExclusively(this.#fd, path)) {
        const holder = readFileSync(path, 'utf8').trim();
        throw new TsError(
          'FailedPrecondition',
          `root ${root} is in use by the daemon with pid ${holder === '' ? 'unknown' : holder}`,
          {
            code: 'TS_ROOT_LOCKED',
            advice: 'stop that daemon or choose another --root',
            fields: { root, holder },
          },
        );
      }
      this.#writePid();
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  /** Only tells others who we are: a full disk must not keep the daemon from starting. */
  #writePid(): void {
    try {
      ftruncateSync(this.#fd);
      writeSync(this.#fd, `${process.pid}\n`);
    } catch (error) {
      if (!isErrno(error, 'ENOSPC', 'EDQUOT')) throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
