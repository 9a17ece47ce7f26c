import { AT_FDCWD, FileType } from './constants/file.ts';
import { syscall } from './syscall.ts';

/** mkfifo(3): a named pipe at a path that must not exist; the umask applies. */
export function makeFifo(path: string, mode: number): void {
  syscall(() => `make fifo ${path}`, 'mknodat', AT_FDCWD, path, FileType.S_IFIFO | mode, 0);
}
