import { statfsSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { FileSystemMagic } from './constants/mount.ts';

/** Whether a path is on a file system of the given type (f_type of statfs(2)). */
export function isOnFileSystem(path: string, magic: FileSystemMagic): boolean {
  try {
    return statfsSync(path).type === FileSystemMagic[magic];
  } catch (thrown) {
    throw TsError.from(thrown, `stat file system of ${path}`);
  }
}
