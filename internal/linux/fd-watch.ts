import { koffi } from './koffi.ts';

/** What a descriptor is waited for. */
export interface Readiness {
  readonly readable?: boolean;
  readonly writable?: boolean;
}

type PollHandle = ReturnType<ReturnType<typeof koffi>['node']['poll']>;

/**
 * Tells when a pipe, FIFO, terminal or other pollable descriptor is ready. The wait is libuv's: it
 * takes no thread. The descriptor is made non-blocking.
 *
 * Not more than one watch may exist for a number; duplicate the descriptor for another. Close the
 * watch before the descriptor.
 */
export class FdWatch implements Disposable {
  readonly #fd: number;
  readonly #onReady: () => void;
  #handle: PollHandle | undefined;
  #isWaiting = false;

  constructor(fd: number, onReady: () => void) {
    this.#fd = fd;
    this.#onReady = onReady;
  }

  /**
   * Waits until the descriptor is ready, has an error or its other end is gone, then calls `onReady`
   * once, in a turn of its own.
   */
  wait(events: Readiness): void {
    this.#isWaiting = true;
    const callback = (): void => {
      this.#handle?.stop();
      // koffi calls outside of any scope of Node's, where exceptions and promises would be lost.
      setImmediate(() => {
        if (!this.#isWaiting) return;
        this.#isWaiting = false;
        this.#onReady();
      });
    };
    if (this.#handle === undefined) this.#handle = koffi().node.poll(this.#fd, events, callback);
    else this.#handle.start(events, callback);
  }

  /** Ends a wait; `onReady` will not be called for it. */
  stop(): void {
    this.#isWaiting = false;
    this.#handle?.stop();
  }

  /** Whether a wait is under way. */
  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  close(): void {
    this.stop();
    this.#handle?.close();
    this.#handle = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
