import { TsError } from '../errors/index.ts';
import { koffi } from './koffi.ts';
import { rawSyscall } from './syscall.ts';

/**
 * Resolves when reading from the fd would not block, also at its end of file. The wait is libuv's
 * (it takes no thread), and it can be given up with a signal.
 */
export function waitReadable(fd: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const finish = (settle: () => void): void => {
      signal?.removeEventListener('abort', abort);
      handle.stop();
      handle.close();
      settle();
    };
    const abort = (): void => finish(() => reject(signal?.reason));
    // koffi calls back outside of any scope of Node's: without the turn that setImmediate gives, what
    // follows the promise would not run before something else happens in this process.
    const handle = koffi().node.poll(fd, { readable: true, disconnect: true }, () =>
      finish(() => setImmediate(resolve)),
    );
    signal?.addEventListener('abort', abort);
  });
}

const EINTR = 4;
const POLLIN = 1;
const POLLHUP = 0x10;

/**
 * As {@link waitReadable}, blocking this thread (ppoll(2)). False: not within `timeoutMs`, which a
 * signal in between may make a little longer.
 */
export function blockUntilReadable(fd: number, timeoutMs?: number): boolean {
  return poll(fd, timeoutMs) !== 0;
}

/** Whether no process has the other end of a pipe, FIFO or terminal open any more. */
export function isHungUp(fd: number): boolean {
  return (poll(fd, 0) & POLLHUP) !== 0;
}

/** The events of a descriptor that is waited for until it can be read; 0: not within `timeoutMs`. */
function poll(fd: number, timeoutMs: number | undefined): number {
  const pollfd = Buffer.alloc(8); // struct pollfd
  pollfd.writeInt32LE(fd, 0);
  pollfd.writeInt16LE(POLLIN, 4);
  const timeout = timeoutMs === undefined ? null : timespec(timeoutMs);
  let result: number;
  do result = rawSyscall('ppoll', pollfd, 1, timeout, null, 0);
  while (result === -EINTR);
  if (result < 0) throw TsError.ofErrno(-result, 'wait for a file descriptor');
  return pollfd.readInt16LE(6);
}

function timespec(ms: number): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeBigInt64LE(BigInt(Math.floor(ms / 1000)), 0);
  bytes.writeBigInt64LE(BigInt(Math.floor((ms % 1000) * 1_000_000)), 8);
  return bytes;
}
