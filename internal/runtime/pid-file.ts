import { renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { isErrno, TsError } from '../errors/index.ts';
import type { Rollback } from './rollback.ts';

/**
 * Writes the pid, decimal and without a newline, so that a reader sees all of it or no file. It is gone again if the
 * operation fails later on: the pid may be another's by then.
 */
export function writePidFile(path: string, pid: number, rollback: Rollback): void {
  const temporary = join(dirname(path), `.${basename(path)}`);
  try {
    writeNew(temporary, String(pid));
  } catch (thrown) {
    throw TsError.from(thrown, `write pid file ${path}`);
  }
  try {
    renameSync(temporary, path);
  } catch (thrown) {
    unlinkSync(temporary);
    throw TsError.from(thrown, `write pid file ${path}`);
  }
  rollback.onFailure(() => rmSync(path, { force: true }));
}

/** Never into what somebody else has put there. */
function writeNew(path: string, text: string): void {
  const options = { mode: 0o666, flag: 'wx' };
  try {
    writeFileSync(path, text, options);
  } catch (thrown) {
    if (!isErrno(thrown, 'EEXIST')) throw thrown;
    unlinkSync(path); // of a runtime that was killed in the middle
    writeFileSync(path, text, options);
  }
}
