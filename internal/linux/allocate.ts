import { restartedSyscall } from './syscall.ts';

/**
 * fallocate(2): reserves disk space for the first `bytes` bytes of a file, so that later writes do
 * not meet ENOSPC. The file's size becomes at least `bytes`.
 */
export function allocateFile(fd: number, bytes: number): void {
  restartedSyscall(() => `allocate ${bytes} bytes`, 'fallocate', fd, 0, 0, bytes);
}

/** syncfs(2): everything of the file system that the fd is on reaches the disk. */
export function syncFileSystem(fd: number): void {
  restartedSyscall(() => 'sync file system', 'syncfs', fd);
}
