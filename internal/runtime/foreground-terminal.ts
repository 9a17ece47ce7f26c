/** The terminal of a container that runs in the foreground: this process copies between the two. */
import { writeSync } from 'node:fs';
import { isatty, ReadStream } from 'node:tty';
import { type OwnedFd, receiveFds, setWindowSize, socketPair, windowSize } from '../linux/index.ts';

const STDIN = 0;
const STDOUT = 1;
const NEWLINE_BYTES = 1;

export class ForegroundTerminal implements Disposable {
  readonly #near: OwnedFd;
  readonly #far: OwnedFd;
  #input: ReadStream | undefined;
  #master: ReadStream | undefined;
  #masterFd = -1;
  #ended: Promise<void> = Promise.resolve();

  constructor() {
    [this.#near, this.#far] = socketPair();
  }

  /** Takes the place of a console socket. */
  get socket(): number {
    return this.#far.number;
  }

  /** Receives the master, which the container's process has sent, and begins to copy. */
  attach(): void {
    const [master, ...others] = receiveFds(this.#near.number, NEWLINE_BYTES * 64).fds;
    for (const other of others) other.close();
    if (master === undefined) return;
    this.#masterFd = master.number;
    this.resize();
    this.#master = new ReadStream(master.release());
    this.#ended = new Promise((resolve) => {
      this.#master?.on('data', (data: Buffer) => writeAll(STDOUT, data));
      this.#master?.on('error', () => resolve()); // EIO: the last one on the other end is gone
      this.#master?.on('end', () => resolve());
    });
    this.#copyInput();
  }

  #copyInput(): void {
    const { stdin } = process;
    if (isatty(STDIN)) {
      this.#input = stdin as ReadStream;
      this.#input.setRawMode(true);
    }
    stdin.on('data', (data: Buffer) => writeAll(this.#masterFd, data));
    stdin.on('error', () => stdin.destroy());
    stdin.unref?.();
  }

  /** Gives the container the size of the terminal that this process has. */
  resize(): void {
    if (this.#masterFd >= 0 && isatty(STDOUT)) setWindowSize(this.#masterFd, windowSize(STDOUT));
  }

  /** Waits until everything the container has written is copied. */
  async drain(): Promise<void> {
    await this.#ended;
  }

  [Symbol.dispose](): void {
    this.#input?.setRawMode(false);
    this.#master?.destroy();
    this.#near.close();
    this.#far.close();
  }
}

/** A terminal whose other end is gone takes nothing any more. */
function writeAll(fd: number, data: Uint8Array): void {
  try {
    for (let written = 0; written < data.length; ) written += writeSync(fd, data, written);
  } catch {
    // the reader of this output, or the container, has gone
  }
}
