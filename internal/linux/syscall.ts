/**
 * Calls the kernel from JavaScript: one binding, libc's syscall(2), for all of them.
 *
 * Binding each libc function by itself would cost start-up time for each, and a second set of names
 * beside those that syscall programs use.
 */
import { TsError } from '../errors/index.ts';
import { koffi } from './koffi.ts';
import { type SyscallName, syscallNumber } from './syscall-numbers.ts';

/** A number, an address (number or bigint), a C string, bytes that are read or written, NULL. */
export type RawArgument = number | bigint | string | Uint8Array | null;

type SyscallFunction = (number: number, ...args: RawArgument[]) => number;

let libcSyscall: SyscallFunction | undefined;

function bind(): SyscallFunction {
  const word = 'void *'; // koffi passes numbers, bigints, strings and buffers for a pointer
  const signature = ['long', word, word, word, word, word, word];
  libcSyscall = koffi().load(null).func('syscall', 'long', signature) as SyscallFunction;
  return libcSyscall;
}

/**
 * A system call with the kernel's own convention: the result, or the errno negated. For callers to
 * whom some errors are answers; all others use {@link syscall}.
 */
export function rawSyscall(
  name: SyscallName,
  a: RawArgument = 0,
  b: RawArgument = 0,
  c: RawArgument = 0,
  d: RawArgument = 0,
  e: RawArgument = 0,
  f: RawArgument = 0,
): number {
  const call = libcSyscall ?? bind();
  const result = call(syscallNumber(name), a, b, c, d, e, f);
  // 0: something between the two calls has overwritten it. An error it is nevertheless.
  return result === -1 ? -(koffi().errno() || ENOTRECOVERABLE) : result;
}

/**
 * A system call that must succeed. On an error it throws with the text of `operation` (operation
 * and object, such as `mount proc on /proc`), which is only asked for in that case.
 */
export function syscall(
  operation: () => string,
  name: SyscallName,
  ...args: readonly RawArgument[]
): number {
  const result = rawSyscall(name, ...args);
  if (result < 0) throw TsError.ofErrno(-result, operation());
  return result;
}

/** As {@link syscall}, repeated for as long as a signal interrupts it (EINTR). */
export function restartedSyscall(
  operation: () => string,
  name: SyscallName,
  ...args: readonly RawArgument[]
): number {
  for (;;) {
    const result = rawSyscall(name, ...args);
    if (result >= 0) return result;
    if (result !== -EINTR) throw TsError.ofErrno(-result, operation());
  }
}

const EINTR = 4;
const ENOTRECOVERABLE = 131;
