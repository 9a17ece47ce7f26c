/** The terminal of a container that runs in the foreground: this process copies between the two. */
import { isatty, ReadStream } from 'node:tty';
import {
  duplicateFd,
  FdWatch,
  type OwnedFd,
  receiveFds,
  setNonBlocking,
  setWindowSize,
  socketPair,
  windowSize,
  writeNow,
} from '../linux/index.ts';

const STDIN = 0;
const STDOUT = 1;
const NEWLINE_BYTES = 1;

export class ForegroundTerminal implements Disposable {
  readonly #near: OwnedFd;
  readonly #far: OwnedFd;
  #input: ReadStream | undefined;
  #master: ReadStream | undefined;
  /** The master once more, for what is not reading: it lives as long as this object. */
  #writeEnd: OwnedFd | undefined;
  #room: FdWatch | undefined;
  #unsent: Uint8Array = new Uint8Array(0);
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
    const writeEnd = duplicateFd(master.number);
    this.#writeEnd = writeEnd;
    this.#room = new FdWatch(writeEnd.number, () => this.#send(writeEnd));
    setNonBlocking(writeEnd.number);
    this.resize();
    const input = new ReadStream(master.release());
    this.#master = input;
    this.#ended = new Promise((resolve) => {
      input.on('error', () => resolve()); // EIO: the last one on the other end is gone
      input.on('end', () => resolve());
    });
    copyOutput(input);
    this.#copyInput(writeEnd);
  }

  #copyInput(writeEnd: OwnedFd): void {
    const { stdin } = process;
    if (isatty(STDIN)) {
      this.#input = stdin as ReadStream;
      this.#input.setRawMode(true);
    }
    stdin.on('data', (data: Buffer) => {
      this.#unsent = this.#unsent.length === 0 ? data : Buffer.concat([this.#unsent, data]);
      this.#send(writeEnd);
    });
    stdin.on('error', () => stdin.destroy());
    stdin.unref?.();
  }

  /** Input waits while the container does not read its terminal; this process must not. */
  #send(writeEnd: OwnedFd): void {
    while (this.#unsent.length > 0) {
      const result = writeNow(writeEnd.number, this.#unsent);
      if ('wouldBlock' in result) {
        process.stdin.pause();
        this.#room?.wait({ writable: true });
        return;
      }
      // A terminal whose other end is gone takes nothing any more.
      const taken = 'bytes' in result ? result.bytes : this.#unsent.length;
      this.#unsent = this.#unsent.subarray(taken);
    }
    process.stdin.resume();
    process.stdin.unref?.();
  }

  /** Gives the container the size of the terminal that this process has. */
  resize(): void {
    if (this.#writeEnd === undefined || !isatty(STDOUT)) return;
    setWindowSize(this.#writeEnd.number, windowSize(STDOUT));
  }

  /** Waits until everything the container has written is copied. */
  async drain(): Promise<void> {
    await this.#ended;
  }

  [Symbol.dispose](): void {
    this.#input?.setRawMode(false);
    process.stdin.pause();
    this.#room?.close();
    this.#writeEnd?.close();
    this.#writeEnd = undefined;
    this.#master?.destroy();
    this.#near.close();
    this.#far.close();
  }
}

/** As fast as stdout takes it; when its reader has gone, the container is not to notice. */
function copyOutput(from: ReadStream): void {
  const { stdout } = process;
  let isBroken = false;
  stdout.on('error', () => {
    isBroken = true;
    from.resume();
  });
  stdout.on('drain', () => from.resume());
  from.on('data', (data: Buffer) => {
    if (!isBroken && !stdout.write(data)) from.pause();
  });
}
