import { write } from 'node:fs';
import { errnoName } from '../errors/index.ts';
import { FdWatch, type OwnedFd, setNonBlocking, writeNow } from '../linux/index.ts';

/** Where a pump brings its bytes. Nothing here waits: what cannot be taken is offered again. */
export interface Sink {
  /** The descriptor, if it is a pipe that pages can be moved to. */
  readonly pipe: number | undefined;
  /** Takes bytes from the front, and says how many. Throws a SinkError once it is broken. */
  write(bytes: Uint8Array): number;
  /** Calls back once, later, when there is room again. */
  onRoom(callback: () => void): void;
  /** Whether all that was taken has arrived. */
  readonly isIdle: boolean;
  /** What was taken must arrive now, though more may come: an unfinished line, say. */
  finish(): void;
  /** Gives the descriptor back. Bytes taken before still arrive. */
  close(): void;
}

/** The other end is gone or the disk is full: no byte will arrive any more. */
export class SinkError extends Error {
  readonly errno: number | string;

  constructor(errno: number | string) {
    super(`write: ${typeof errno === 'number' ? errnoName(errno) : errno}`);
    this.errno = errno;
  }
}

/** A pipe, FIFO or terminal. */
export class DescriptorSink implements Sink {
  readonly #fd: OwnedFd;
  readonly #watch: FdWatch;
  readonly pipe: number | undefined;
  readonly isIdle = true; // what the kernel has taken has arrived
  #callback: () => void = () => {};

  constructor(fd: OwnedFd, options: { isPipe: boolean }) {
    setNonBlocking(fd.number);
    this.#fd = fd;
    this.pipe = options.isPipe ? fd.number : undefined;
    this.#watch = new FdWatch(fd.number, () => this.#callback());
  }

  write(bytes: Uint8Array): number {
    const result = writeNow(this.#fd.number, bytes);
    if ('bytes' in result) return result.bytes;
    if ('errno' in result) throw new SinkError(result.errno);
    return 0;
  }

  finish(): void {
    // nothing is held back
  }

  onRoom(callback: () => void): void {
    this.#callback = callback;
    this.#watch.wait({ writable: true });
  }

  close(): void {
    this.#watch.close();
    this.#fd.close();
  }
}

/**
 * A file that is appended to, on libuv's threads: a slow disk must not hold up the containers whose
 * event loop this is. One write at a time; several streams may share one file.
 */
export class FileSink implements Sink {
  readonly #fd: OwnedFd;
  readonly pipe = undefined;
  #isWriting = false;
  #isClosed = false;
  #error: SinkError | undefined;
  #callback: (() => void) | undefined;

  constructor(fd: OwnedFd) {
    this.#fd = fd;
  }

  get isIdle(): boolean {
    return !this.#isWriting;
  }

  write(bytes: Uint8Array): number {
    if (this.#error !== undefined) throw this.#error;
    if (this.#isWriting || this.#isClosed) return 0;
    this.#append(Buffer.from(bytes)); // a copy: the caller's buffer is used again at once
    this.#isWriting = true;
    return bytes.length;
  }

  finish(): void {
    // nothing is held back
  }

  onRoom(callback: () => void): void {
    this.#callback = callback;
    if (!this.#isWriting) setImmediate(() => this.#tell());
  }

  close(): void {
    this.#isClosed = true;
    if (!this.#isWriting) this.#fd.close();
  }

  #append(bytes: Buffer): void {
    write(this.#fd.number, bytes, (error, written) => {
      if (error !== null && error.code === 'EINTR') this.#append(bytes);
      else if (error === null && written < bytes.length) this.#append(bytes.subarray(written));
      else {
        if (error !== null) this.#error = new SinkError(error.code ?? error.message);
        this.#isWriting = false;
        if (this.#isClosed) this.#fd.close();
        this.#tell();
      }
    });
  }

  #tell(): void {
    const callback = this.#callback;
    this.#callback = undefined;
    callback?.();
  }
}
