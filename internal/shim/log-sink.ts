import { nowNs } from '../api/time.ts';
import type { TsError } from '../errors/index.ts';
import { LogFile } from './log-file.ts';
import { type LineOptions, LineSplitter } from './log-line.ts';
import type { LogTarget, StreamName } from './log-uri.ts';
import { type OutputListener, TeeFifo } from './output-tap.ts';
import type { Sink } from './sink.ts';

/** One output stream on its way into a log file, and to whoever is attached to it. */
export class LogSink implements Sink {
  readonly pipe = undefined;
  readonly stream: StreamName;
  readonly file: LogFile;
  readonly #splitter: LineSplitter;
  readonly #onFailed: (error: Error) => void;
  readonly #listeners = new Set<OutputListener>();
  #callback: (() => void) | undefined;
  #isRegistered = false;
  #isClosed = false;

  /** `onFailed` hears of a listener that is dropped because it throws. */
  constructor(
    file: LogFile,
    target: LogTarget,
    stream: StreamName,
    onFailed: (error: Error) => void,
  ) {
    this.file = file.use();
    this.stream = stream;
    this.#onFailed = onFailed;
    this.#splitter = new LineSplitter({ ...target, stream }, file);
    for (const path of target.tees) this.#listeners.add(new TeeFifo(path));
  }

  get isIdle(): boolean {
    return this.file.isIdle;
  }

  write(bytes: Uint8Array): number {
    if (this.#isClosed) return bytes.length;
    if (!this.file.hasRoom) return 0;
    const taken = this.#splitter.push(bytes, nowNs());
    this.file.flush();
    this.#inform((listener) => listener.output(this.stream, bytes.subarray(0, taken)));
    return taken;
  }

  finish(): void {
    this.#splitter.finish(nowNs());
    this.file.flush();
  }

  onRoom(callback: () => void): void {
    this.#callback = callback;
    if (this.#isRegistered) return;
    this.#isRegistered = true;
    this.file.onChange(() => {
      this.#isRegistered = false;
      const waiting = this.#callback;
      this.#callback = undefined;
      waiting?.();
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    try {
      this.finish();
    } finally {
      this.#inform((listener) => listener.end(this.stream));
      this.#listeners.clear();
      this.file.release();
    }
  }

  /** Tells `listener` what comes from now on, until {@link detach}. An output that is over ends at once. */
  attach(listener: OutputListener): void {
    if (this.#isClosed) listener.end(this.stream);
    else this.#listeners.add(listener);
  }

  detach(listener: OutputListener): void {
    this.#listeners.delete(listener);
  }

  #inform(tell: (listener: OutputListener) => void): void {
    for (const listener of this.#listeners) {
      try {
        tell(listener);
      } catch (cause) {
        this.#listeners.delete(listener); // the log and the others go on
        this.#onFailed(new Error(`a client is dropped: ${cause}`, { cause }));
      }
    }
  }
}

/** Opens the file of a log. */
export async function openLog(
  target: LogTarget,
  onRefused: (error: TsError) => void,
): Promise<LogFile> {
  return LogFile.open(target.path, {
    onRefused,
    notice: (text, timeNs) => noticeLine({ ...target, stream: 'stderr' }, text, timeNs),
  });
}

/** What the shim itself has to say in a container's log, in the form of its lines. */
function noticeLine(options: LineOptions, text: string, timeNs: bigint): Uint8Array {
  const parts: Uint8Array[] = [];
  const writer = { line: (...line: Uint8Array[]) => void parts.push(Buffer.concat(line)) };
  new LineSplitter(options, writer).push(
    Buffer.from(`containerd-shim-tsrunc-v2: ${text}\n`),
    timeNs,
  );
  return Buffer.concat(parts);
}
