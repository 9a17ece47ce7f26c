import { closeSync, openSync } from 'node:fs';
import { syscall } from './syscall.ts';

/** Flushes all of the file system that holds `path` to the disk (syncfs(2)). */
export function syncFileSystem(path: string): void {
  const fd = openSync(path, 'r');
  try {
    syscall(() => `sync file system of ${path}`, 'syncfs', fd);
  } finally {
    closeSync(fd);
  }
}
