import { closeSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { whileBlocked } from '../linux/operation.ts';
import { Trace } from '../linux/trace.ts';

const STDERR = 2;

/**
 * A file that gets the trace of all programs which run from now on. It is written at the end, and whenever this process
 * waits for a child that is at a step for long: if that step hangs and this process is killed, the file tells where.
 */
export class TraceFile implements Disposable {
  readonly #path: string;
  readonly #fd: number;
  /** Not a pipe or a device, where nothing can be written a second time. */
  readonly #isRegular: boolean;
  #trace: Trace | undefined;
  #writtenEvents = 0;
  #writtenBytes = 0;
  #hasFailed = false;

  /** The file is opened first: a wrong name is an error before anything is done. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#fd = openSync(path, 'w', 0o644);
      this.#isRegular = fstatSync(this.#fd).isFile();
    } catch (thrown) {
      throw TsError.from(thrown, `open trace ${path}`);
    }
    this.#trace = new Trace();
    if (this.#isRegular) whileBlocked(() => this.#update());
  }

  /** Writes what has run so far and ends the trace. */
  write(): void {
    if (this.#trace === undefined) return;
    using trace = this.#trace;
    this.#trace = undefined;
    whileBlocked(undefined);
    if (!this.#hasFailed) this.#writeLines(trace);
    closeSync(this.#fd);
  }

  #update(): void {
    if (this.#trace === undefined || this.#hasFailed) return;
    if (this.#trace.eventCount === this.#writtenEvents) return;
    this.#writeLines(this.#trace);
  }

  #writeLines(trace: Trace): void {
    this.#writtenEvents = trace.eventCount;
    const bytes = Buffer.from(`${trace.lines().join('\n')}\n`);
    try {
      for (let written = 0; written < bytes.length; ) {
        const place = this.#isRegular ? written : null;
        written += writeSync(this.#fd, bytes, written, bytes.length - written, place);
      }
      if (bytes.length < this.#writtenBytes) ftruncateSync(this.#fd, bytes.length);
      this.#writtenBytes = bytes.length;
    } catch (thrown) {
      // The container is there, or has failed with an error of its own: neither is changed by a full disk.
      this.#hasFailed = true;
      writeSync(STDERR, `${TsError.from(thrown, `write trace ${this.#path}`).message}\n`);
    }
  }

  [Symbol.dispose](): void {
    this.write();
  }
}
