import { OpenFlag } from './constants/file.ts';
import { OwnedFd } from './fd.ts';
import { syscall } from './syscall.ts';

/** eventfd(2), non-blocking and close-on-exec: a counter that the kernel adds to. */
export function createEventfd(): OwnedFd {
  const flags = OpenFlag.O_CLOEXEC | OpenFlag.O_NONBLOCK; // EFD_CLOEXEC, EFD_NONBLOCK
  return new OwnedFd(syscall(() => 'create eventfd', 'eventfd2', 0, flags));
}

/** Takes the counter and sets it to 0. Throws EAGAIN if it is 0: wait with `waitReadable` first. */
export function readEventfd(eventfd: OwnedFd): bigint {
  const counter = Buffer.alloc(8);
  syscall(() => 'read eventfd', 'read', eventfd.number, counter, counter.length);
  return counter.readBigUInt64LE(0);
}
