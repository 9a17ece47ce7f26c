import { closeSync, openSync, writeSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { Trace } from '../linux/trace.ts';

const STDERR = 2;

/** A file that gets the trace of all programs which run from now on, once. */
export class TraceFile implements Disposable {
  readonly #path: string;
  readonly #fd: number;
  #trace: Trace | undefined;

  /** The file is opened first: a wrong name is an error before anything is done. */
  constructor(path: string) {
    this.#path = path;
    try {
      this.#fd = openSync(path, 'w', 0o644);
    } catch (thrown) {
      throw TsError.from(thrown, `open trace ${path}`);
    }
    this.#trace = new Trace();
  }

  /** Writes what has run so far and ends the trace. */
  write(): void {
    if (this.#trace === undefined) return;
    using trace = this.#trace;
    this.#trace = undefined;
    try {
      const bytes = Buffer.from(`${trace.lines().join('\n')}\n`);
      for (let written = 0; written < bytes.length; )
        written += writeSync(this.#fd, bytes, written);
    } catch (thrown) {
      // The container is there, or has failed with an error of its own: neither is changed by a full disk.
      writeSync(STDERR, `${TsError.from(thrown, `write trace ${this.#path}`).message}\n`);
    }
    closeSync(this.#fd);
  }

  [Symbol.dispose](): void {
    this.write();
  }
}
