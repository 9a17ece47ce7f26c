import { rawSyscall } from './syscall.ts';

/**
 * A file descriptor with one owner. Dispose it (`using`) or pass it on with {@link release}.
 */
export class OwnedFd implements Disposable {
  #number: number;

  constructor(number: number) {
    this.#number = number;
  }

  /** The descriptor's number; it must not be used after this object is disposed. */
  get number(): number {
    if (this.#number < 0) throw new Error('internal error: use of a closed file descriptor');
    return this.#number;
  }

  /** Gives the number to another owner: this object no longer closes it. */
  release(): number {
    const number = this.number;
    this.#number = -1;
    return number;
  }

  /** Closes it, once. What close(2) says does not matter: the descriptor is gone in any case. */
  close(): void {
    if (this.#number < 0) return;
    rawSyscall('close', this.#number);
    this.#number = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
