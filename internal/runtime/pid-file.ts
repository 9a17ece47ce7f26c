import { renameSync, unlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { TsError } from '../errors/index.ts';

/** Writes the pid, decimal and without a newline, so that a reader sees all of it or no file. */
export function writePidFile(path: string, pid: number): void {
  const temporary = join(dirname(path), `.${basename(path)}`);
  try {
    writeFileSync(temporary, String(pid), { mode: 0o666, flag: 'wx' });
  } catch (thrown) {
    throw TsError.from(thrown, `write pid file ${path}`);
  }
  try {
    renameSync(temporary, path);
  } catch (thrown) {
    unlinkSync(temporary);
    throw TsError.from(thrown, `write pid file ${path}`);
  }
}
