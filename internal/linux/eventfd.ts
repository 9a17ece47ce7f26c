import { syscall } from './syscall.ts';

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

/** A counter that the kernel or a process adds to (man 2 eventfd): its fd, owned by the caller. */
export function createEventFd(): number {
  return syscall(() => 'create an eventfd', 'eventfd2', 0, EFD_CLOEXEC | EFD_NONBLOCK);
}
