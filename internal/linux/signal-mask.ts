import { Signal, type SignalName } from './constants/signal.ts';
import { syscall } from './syscall.ts';

const SIG_UNBLOCK = 1;
/** Size of the kernel's signal set. */
const SIGSET_BYTES = 8;

/**
 * Lets a signal reach the calling thread, and so `process.on(signal)`. Node started with
 * `--disable-sigusr1` has SIGUSR1 blocked in all its threads.
 */
export function unblockSignal(signal: SignalName): void {
  const set = Buffer.alloc(SIGSET_BYTES);
  set.writeBigUInt64LE(1n << BigInt(Signal[signal] - 1));
  syscall(() => `unblock ${signal}`, 'rt_sigprocmask', SIG_UNBLOCK, set, null, SIGSET_BYTES);
}
