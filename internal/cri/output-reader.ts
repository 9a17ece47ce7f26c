import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { Socket } from 'node:net';
import { makeFifo } from '../linux/fifo.ts';

/** Reads what a process writes into a FIFO, up to a limit; what comes after it is read and thrown away. */
export class OutputReader implements Disposable {
  readonly path: string;
  readonly #socket: Socket;
  readonly #chunks: Buffer[] = [];
  readonly #limitBytes: number;
  #bytes = 0;
  /** Resolves when every writer has closed the FIFO. */
  readonly ended: Promise<void>;

  /** Makes the FIFO at `path` and opens it for reading, before any writer does. */
  constructor(path: string, limitBytes: number) {
    this.path = path;
    this.#limitBytes = limitBytes;
    makeFifo(path, 0o600);
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      this.#socket = new Socket({ fd, readable: true, writable: false });
    } catch (thrown) {
      closeSync(fd);
      rmSync(path, { force: true });
      throw thrown;
    }
    this.#socket.on('data', (chunk) => this.#take(chunk as Buffer));
    this.ended = new Promise((resolve) => {
      this.#socket.once('close', resolve);
      this.#socket.once('error', () => resolve()); // the FIFO is ours: it can only be closed
    });
  }

  #take(chunk: Buffer): void {
    const room = this.#limitBytes - this.#bytes;
    if (room <= 0) return;
    const part = chunk.subarray(0, room);
    this.#chunks.push(part);
    this.#bytes += part.length;
  }

  /** What has come so far. */
  get output(): Buffer {
    return Buffer.concat(this.#chunks);
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
    rmSync(this.path, { force: true });
  }
}
