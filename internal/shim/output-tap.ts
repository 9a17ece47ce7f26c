/**
 * Clients attached to an output that goes to a log: each hears of it from now on. One that is slow
 * or dead must hold up neither the log nor the others: what it does not take in time is dropped for
 * it alone, and it is told how much.
 */
import { openSync } from 'node:fs';
import { errnoNameOf } from '../errors/index.ts';
import { FdWatch, OpenFlag, OwnedFd, writeNow } from '../linux/index.ts';
import type { StreamName } from './log-uri.ts';

/** Bytes that wait for one client. */
const MAX_WAITING_BYTES = 1 << 20;

/** A piece of output, or how many bytes were dropped before the next one. */
export interface OutputPiece {
  readonly stream: StreamName;
  readonly bytes: Uint8Array;
  readonly droppedBytes: number;
}

/** Somebody who hears what a process writes. */
export interface OutputListener {
  /** The bytes are only valid during the call. */
  output(stream: StreamName, bytes: Uint8Array): void;
  /** The stream has come to its end. */
  end(stream: StreamName): void;
}

/** An attached client that asks for the next piece. */
export class OutputTap implements OutputListener {
  readonly #streams: Set<StreamName>;
  readonly #pieces: OutputPiece[] = [];
  #waitingBytes = 0;
  #droppedBytes = 0;
  #wake: (() => void) | undefined;

  constructor(streams: Iterable<StreamName>) {
    this.#streams = new Set(streams);
  }

  output(stream: StreamName, bytes: Uint8Array): void {
    if (!this.#streams.has(stream)) return;
    if (this.#waitingBytes + bytes.length > MAX_WAITING_BYTES) {
      this.#droppedBytes += bytes.length;
      return;
    }
    // A copy: the pump reads into the same buffer again.
    const piece = { stream, bytes: Uint8Array.from(bytes), droppedBytes: this.#droppedBytes };
    this.#droppedBytes = 0;
    this.#waitingBytes += bytes.length;
    this.#pieces.push(piece);
    this.#wake?.();
  }

  end(stream: StreamName): void {
    this.#streams.delete(stream);
    this.#wake?.();
  }

  /** What comes, until all streams have ended or `signal` is aborted. */
  async *pieces(signal: AbortSignal): AsyncGenerator<OutputPiece> {
    const onAbort = (): void => this.#wake?.();
    signal.addEventListener('abort', onAbort);
    try {
      while (!signal.aborted) {
        const piece = this.#pieces.shift();
        if (piece !== undefined) {
          this.#waitingBytes -= piece.bytes.length;
          yield piece;
        } else if (this.#streams.size === 0) return;
        else await this.#next();
      }
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  async #next(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    this.#wake = undefined;
  }
}

/** A FIFO that gets the bare output for as long as somebody reads it. */
export class TeeFifo implements OutputListener {
  readonly #path: string;
  #fd: OwnedFd | undefined;
  #watch: FdWatch | undefined;
  readonly #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #isEnding = false;

  constructor(path: string) {
    this.#path = path;
  }

  output(_stream: StreamName, bytes: Uint8Array): void {
    if (!this.#open()) return;
    const at = this.#waiting.length === 0 ? this.#write(bytes) : 0;
    const rest = bytes.length - at;
    if (this.#fd === undefined || rest === 0) return;
    if (this.#waitingBytes + rest > MAX_WAITING_BYTES) return; // dropped for this reader alone
    this.#waiting.push(Uint8Array.from(bytes.subarray(at)));
    this.#waitingBytes += rest;
    this.#watch?.wait({ writable: true });
  }

  end(): void {
    this.#isEnding = true;
    if (this.#waiting.length === 0) this.#close();
  }

  /** Opening fails at once while nobody reads: then there is nobody to tell. */
  #open(): boolean {
    if (this.#fd !== undefined) return true;
    if (this.#isEnding) return false;
    try {
      const flags = OpenFlag.O_WRONLY | OpenFlag.O_NONBLOCK | OpenFlag.O_NOCTTY;
      const fd = new OwnedFd(openSync(this.#path, flags));
      this.#fd = fd;
      this.#watch = new FdWatch(fd.number, () => this.#drain());
      return true;
    } catch (thrown) {
      if (errnoNameOf(thrown) === undefined) throw thrown;
      return false; // ENXIO: nobody reads; ENOENT: nobody will
    }
  }

  #drain(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const at = this.#write(first);
      if (this.#fd === undefined) return;
      this.#waitingBytes -= at;
      if (at < first.length) {
        this.#waiting[0] = first.subarray(at);
        this.#watch?.wait({ writable: true });
        return;
      }
      this.#waiting.shift();
    }
    if (this.#isEnding) this.#close();
  }

  #write(bytes: Uint8Array): number {
    if (this.#fd === undefined) return 0;
    const result = writeNow(this.#fd.number, bytes);
    if ('bytes' in result) return result.bytes;
    if ('errno' in result) this.#close(); // the reader is gone; another may come
    return 0;
  }

  #close(): void {
    this.#watch?.close();
    this.#fd?.close();
    this.#fd = undefined;
    this.#watch = undefined;
    this.#waiting.length = 0;
    this.#waitingBytes = 0;
  }
}
