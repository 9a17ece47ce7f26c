import { koffi } from './koffi.ts';

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
