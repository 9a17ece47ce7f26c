import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import { pauseProgram } from '../linux/pause-program.ts';
import type { ImageProcess } from './spec-process.ts';

/** What the built-in pause says of itself, as an image would. */
export const BUILTIN_PAUSE: ImageProcess = {
  user: '65535:65535',
  env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
  entrypoint: ['/pause'],
  cmd: [],
  workingDir: '/',
  stopSignal: '',
  volumes: [],
};

/** Places that a pod's mounts need; the root is read-only for everybody. */
const DIRECTORIES = ['dev', 'etc', 'proc', 'sys'];
const FILES = ['etc/resolv.conf'];

/**
 * The root file system of the built-in pause, one for all pods: made when first needed, under another name
 * first, so that a half-made one is never used.
 */
export function pauseRootfs(rootDir: string): string {
  const directory = join(rootDir, 'pause');
  if (existsSync(directory)) return directory;
  const temporary = `${directory}.${process.pid}`;
  try {
    rmSync(temporary, { recursive: true, force: true });
    for (const name of DIRECTORIES)
      mkdirSync(join(temporary, name), { recursive: true, mode: 0o755 });
    for (const name of FILES) writeFileSync(join(temporary, name), '', { mode: 0o644 });
    writeFileSync(join(temporary, 'pause'), pauseProgram(), { mode: 0o755 });
    renameSync(temporary, directory);
    return directory;
  } catch (thrown) {
    throw TsError.from(thrown, `make the root of the pause program in ${directory}`);
  }
}
