import { FcntlCommand, OpenFlag } from './constants/file.ts';
import { OwnedFd } from './fd.ts';
import { rawSyscall, syscall } from './syscall.ts';

const EAGAIN = 11;
const EINTR = 4;
/** FIONREAD (asm-generic/ioctls.h). */
const FIONREAD = 0x541b;
/** SPLICE_F_MOVE | SPLICE_F_NONBLOCK (linux/splice.h). */
const SPLICE_FLAGS = 3;

/** What a transfer that does not wait comes to: bytes, or why there are none. */
export type Transfer =
  | { readonly bytes: number }
  /** Nothing can be moved now; wait for readiness. */
  | { readonly wouldBlock: true }
  | { readonly errno: number };

const WOULD_BLOCK: Transfer = { wouldBlock: true };

function transferOf(call: () => number): Transfer {
  let result: number;
  do result = call();
  while (result === -EINTR);
  if (result >= 0) return { bytes: result };
  return result === -EAGAIN ? WOULD_BLOCK : { errno: -result };
}

/** read(2) of a non-blocking descriptor; 0 bytes are its end. */
export function readNow(fd: number, into: Uint8Array): Transfer {
  return transferOf(() => rawSyscall('read', fd, into, into.length));
}

/** write(2) to a non-blocking descriptor; fewer bytes than given may be taken. */
export function writeNow(fd: number, bytes: Uint8Array): Transfer {
  return transferOf(() => rawSyscall('write', fd, bytes, bytes.length));
}

/**
 * splice(2) between two pipes or FIFOs: the kernel moves pages, nothing is copied. 0 bytes are the
 * end of `from`. `wouldBlock` means that `from` is empty or that `to` is full.
 */
export function spliceNow(from: number, to: number, maxBytes: number): Transfer {
  return transferOf(() => rawSyscall('splice', from, null, to, null, maxBytes, SPLICE_FLAGS));
}

/** Bytes that can be read at once from a pipe, terminal or socket. */
export function bytesReadable(fd: number): number {
  const count = new Int32Array(1);
  const operation = () => 'get number of readable bytes';
  syscall(operation, 'ioctl', fd, FIONREAD, new Uint8Array(count.buffer));
  return count[0] ?? 0;
}

/** Sets O_NONBLOCK on the open file description, which all duplicates share. */
export function setNonBlocking(fd: number): void {
  const flags = syscall(() => 'get file status flags', 'fcntl', fd, FcntlCommand.F_GETFL, 0);
  const changed = flags | OpenFlag.O_NONBLOCK;
  syscall(() => 'set file status flags', 'fcntl', fd, FcntlCommand.F_SETFL, changed);
}

/** O_WRONLY and O_RDWR among the access modes (asm-generic/fcntl.h). */
const WRITE_MODES = 3;

/** Whether a descriptor was opened for writing. */
export function isWritable(fd: number): boolean {
  const flags = syscall(() => 'get file status flags', 'fcntl', fd, FcntlCommand.F_GETFL, 0);
  return (flags & WRITE_MODES) !== OpenFlag.O_RDONLY;
}

/** Another number for the same open file description, close-on-exec. */
export function duplicateFd(fd: number): OwnedFd {
  const operation = () => 'duplicate file descriptor';
  return new OwnedFd(syscall(operation, 'fcntl', fd, FcntlCommand.F_DUPFD_CLOEXEC, 0));
}
