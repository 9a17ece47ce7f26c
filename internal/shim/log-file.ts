/**
 * The file of a container's log: whole lines are appended, on libuv's threads, one write at a time.
 *
 * A disk that refuses (full, over quota, read-only) must not stop the container, and must not leave
 * half a line: the file is cut back to its last whole line, writing is tried again every second, and
 * what the memory does not hold meanwhile is dropped and counted. The count is a line in the log as
 * soon as there is room. Rotation is by rename and {@link LogFile.reopen}: no line is lost or torn,
 * since the file changes between two writes.
 */
import { close, fstat, ftruncate, open, write } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { nowNs } from '../api/time.ts';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { OpenFlag, OwnedFd } from '../linux/index.ts';
import { releaseBuffer } from '../linux/release-buffer.ts';
import type { LineWriter } from './log-line.ts';
import { makeDirectories } from './make-directories.ts';

const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK, O_NOCTTY } = OpenFlag;

/** Bytes that may wait; beyond it a writer waits, or loses lines while the disk refuses. */
const MAX_PENDING_BYTES = 256 << 10;
/** A buffer above this size is given back when it is empty. */
const KEPT_BYTES = 32 << 10;
const RETRY_MS = 1_000;
const NEWLINE = 0x0a;

export interface LogFileOptions {
  /** Makes the line that tells of lost ones. */
  readonly notice: (text: string, timeNs: bigint) => Uint8Array;
  /** Hears when the disk begins to refuse. */
  readonly onRefused?: (error: TsError) => void;
  readonly retryMs?: number;
  readonly maxPendingBytes?: number;
}

/** What has become of the lines so far. */
export interface LogCounts {
  readonly bytesWritten: bigint;
  readonly linesLost: bigint;
  readonly bytesLost: bigint;
}

export class LogFile implements LineWriter {
  readonly path: string;
  readonly #options: LogFileOptions;
  readonly #maxPending: number;
  #fd: OwnedFd;
  #users = 0;
  #pending: Buffer = EMPTY;
  #pendingLength = 0;
  #spare: Buffer = EMPTY;
  /** What is being written, or has been refused. */
  #batch: Buffer = EMPTY;
  #isWriting = false;
  #isClosed = false;
  /** Why the last write was refused. */
  #refusal: string | undefined;
  #lastRefusal = '';
  #retry: NodeJS.Timeout | undefined;
  #reopenings: PromiseWithResolvers<void>[] = [];
  #waiting: (() => void)[] = [];
  #bytesWritten = 0n;
  /** Lost since the last notice, and before. */
  #lost = { lines: 0n, bytes: 0n };
  #lostBefore = { lines: 0n, bytes: 0n };

  private constructor(path: string, fd: OwnedFd, options: LogFileOptions) {
    this.path = path;
    this.#fd = fd;
    this.#options = options;
    this.#maxPending = options.maxPendingBytes ?? MAX_PENDING_BYTES;
  }

  /** Opens or makes the file, and the directories above it. */
  static async open(path: string, options: LogFileOptions): Promise<LogFile> {
    await makeDirectories(dirname(path));
    return new LogFile(path, await openForLines(path), options);
  }

  /** Whether more may be added now. */
  get hasRoom(): boolean {
    return this.#refusal !== undefined || this.#pendingLength < this.#maxPending;
  }

  /** Whether all that was added is in the file, or cannot be. */
  get isIdle(): boolean {
    return !this.#isWriting && (this.#refusal !== undefined || this.#pendingLength === 0);
  }

  get counts(): LogCounts {
    return {
      bytesWritten: this.#bytesWritten,
      linesLost: this.#lost.lines + this.#lostBefore.lines,
      bytesLost: this.#lost.bytes + this.#lostBefore.bytes,
    };
  }

  /** Another stream writes here; {@link release} gives it back. */
  use(): this {
    this.#users++;
    return this;
  }

  /** With the last user the file is closed, once all is written. */
  release(): void {
    if (--this.#users > 0 || this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#retry);
    if (!this.#isWriting) void this.#run();
  }

  /** Calls back once, later, when something has been written or refused. */
  onChange(callback: () => void): void {
    if (this.#isWriting) this.#waiting.push(callback);
    else setImmediate(callback);
  }

  line(head: Uint8Array, content: Uint8Array, tail: Uint8Array): void {
    const length = head.length + content.length + tail.length;
    const waiting = this.#pendingLength + this.#batch.length;
    const isFull = this.#lost.lines > 0n || waiting + length > this.#maxPending;
    if (this.#refusal !== undefined && isFull) {
      this.#lost.lines++;
      this.#lost.bytes += BigInt(content.length);
      return;
    }
    this.#reserve(length);
    this.#pending.set(head, this.#pendingLength);
    this.#pending.set(content, this.#pendingLength + head.length);
    this.#pending.set(tail, this.#pendingLength + head.length + content.length);
    this.#pendingLength += length;
  }

  /** Begins to write what was added. */
  flush(): void {
    if (!this.#isWriting && this.#refusal === undefined && this.#pendingLength > 0) {
      void this.#run();
    }
  }

  /**
   * Closes the file and opens what is at its path now, making it if need be. What was added before
   * is in the old file. Rejects when it cannot be opened; then the old one stays in use.
   */
  async reopen(): Promise<void> {
    if (this.#isClosed) throw new TsError('FailedPrecondition', `log ${this.path} is closed`);
    const reopening = Promise.withResolvers<void>();
    this.#reopenings.push(reopening);
    if (!this.#isWriting) void this.#run();
    await reopening.promise;
  }

  #reserve(length: number): void {
    const needed = this.#pendingLength + length;
    if (this.#pending.length >= needed) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#pending.length, 4096));
    this.#pending.copy(larger, 0, 0, this.#pendingLength);
    if (this.#pending !== EMPTY) releaseBuffer(this.#pending);
    this.#pending = larger;
  }

  /** Writes until nothing is left or the disk refuses. Never rejects. */
  async #run(): Promise<void> {
    this.#isWriting = true;
    clearTimeout(this.#retry);
    try {
      await this.#writeAll();
    } catch (thrown) {
      this.#refused(String(thrown), thrown); // no memory, say: as a full disk, that may pass
    }
    this.#tellWaiting();
    this.#isWriting = false;
    if (this.#isClosed) this.#end();
    else if (this.#refusal !== undefined) {
      this.#retry = setTimeout(() => void this.#run(), this.#options.retryMs ?? RETRY_MS);
    }
  }

  async #writeAll(): Promise<void> {
    let goesOn = true;
    while (goesOn) {
      goesOn = await this.#writeBatch();
      for (const reopening of this.#reopenings.splice(0)) {
        await this.#reopen(reopening);
        goesOn = true; // the new file may be on another disk
      }
      if (this.#batch.length === 0) this.#takeBatch();
      goesOn &&= this.#batch.length > 0;
      this.#tellWaiting();
    }
    if (this.#batch.length === 0) this.#refusal = undefined;
  }

  #tellWaiting(): void {
    for (const callback of this.#waiting.splice(0)) setImmediate(callback);
  }

  /** What was added becomes what is written next, and behind it what is to be said of lost lines. */
  #takeBatch(): void {
    const buffer = this.#pending;
    const pending = buffer.subarray(0, this.#pendingLength);
    const isLast = pending.length === 0;
    // Two buffers change places; an idle container has none but a small one.
    this.#pending = isLast ? EMPTY : this.#spare;
    this.#spare = isLast && buffer.length > KEPT_BYTES ? EMPTY : buffer;
    this.#pendingLength = 0;
    this.#batch = pending;
    const { lines, bytes } = this.#lost;
    if (lines === 0n) return;
    const text = `${lines} lines of output (${bytes} bytes) lost: write ${this.path}: ${this.#lastRefusal}`;
    this.#batch = Buffer.concat([pending, this.#options.notice(text, nowNs())]);
    this.#lostBefore.lines += lines;
    this.#lostBefore.bytes += bytes;
    this.#lost = { lines: 0n, bytes: 0n };
  }

  /** Whether the batch is in the file. If not, its whole lines that are not are the batch. */
  async #writeBatch(): Promise<boolean> {
    const batch = this.#batch;
    let at = 0;
    while (at < batch.length) {
      try {
        at += await writeSome(this.#fd.number, batch, at);
      } catch (error) {
        const errno = errnoNameOf(error) ?? String(error);
        if (errno === 'EINTR' || errno === 'EAGAIN') continue;
        const whole = at === 0 ? 0 : batch.lastIndexOf(NEWLINE, at - 1) + 1;
        await this.#cutBack(at - whole);
        this.#bytesWritten += BigInt(whole);
        this.#batch = batch.subarray(whole);
        this.#refused(errno);
        return false;
      }
    }
    this.#bytesWritten += BigInt(batch.length);
    this.#batch = EMPTY;
    if (batch.length > 0) this.#refusal = undefined;
    return true;
  }

  #refused(errno: string, cause?: unknown): void {
    const isFirst = this.#refusal === undefined;
    this.#refusal = errno;
    this.#lastRefusal = errno;
    if (!isFirst) return;
    const advice = errno === 'ENOSPC' ? 'free space on the disk of the log' : undefined;
    this.#options.onRefused?.(
      new TsError('ResourceExhausted', `write ${this.path}: ${errno}`, {
        code: 'TS_LOG_REFUSED',
        ...(advice === undefined ? {} : { advice }),
        cause,
      }),
    );
  }

  /** Takes half a line off the end of the file: it is written again later. */
  async #cutBack(bytes: number): Promise<void> {
    if (bytes === 0) return;
    try {
      const { size } = await promisify(fstat)(this.#fd.number);
      if (size >= bytes) await promisify(ftruncate)(this.#fd.number, size - bytes);
    } catch {
      // A device cannot be cut: then half of a line is followed by all of it.
    }
  }

  async #reopen({ resolve, reject }: PromiseWithResolvers<void>): Promise<void> {
    try {
      const next = await openForLines(this.path);
      closeLater(this.#fd); // nothing of ours is on the way to it
      this.#fd = next;
      resolve();
    } catch (thrown) {
      reject(TsError.from(thrown, `reopen log ${this.path}`));
    }
  }

  #end(): void {
    const left = this.#batch.length + this.#pendingLength;
    if (left > 0 || this.#lost.lines > 0n) {
      const { lines, bytes } = this.#lost;
      const text = `log ${this.path}: its last ${left} bytes and ${lines} lines (${bytes} bytes) lost`;
      this.#options.onRefused?.(new TsError('DataLoss', `${text}: ${this.#lastRefusal}`));
    }
    this.#batch = EMPTY;
    this.#pending = EMPTY;
    this.#pendingLength = 0;
    closeLater(this.#fd); // what could go wrong went wrong at a write
  }
}

const EMPTY = Buffer.alloc(0);

function writeSome(fd: number, bytes: Uint8Array, at: number): Promise<number> {
  return new Promise((resolve, reject) => {
    write(fd, bytes, at, bytes.length - at, null, (error, written) => {
      if (error === null) resolve(written);
      else reject(error);
    });
  });
}

/** Closes it once, on one of libuv's threads: a disk may be slow in that, too. */
function closeLater(fd: OwnedFd): void {
  close(fd.release(), () => {});
}

/** A pipe in the place of a log would stop the container as soon as nobody reads it. */
async function openForLines(path: string): Promise<OwnedFd> {
  const flags = O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY;
  let fd: OwnedFd;
  try {
    fd = new OwnedFd(await promisify(open)(path, flags, 0o640));
  } catch (thrown) {
    throw TsError.from(thrown, `open ${path}`);
  }
  const stat = await promisify(fstat)(fd.number);
  if (stat.isFile() || stat.isCharacterDevice()) return fd;
  closeLater(fd); // it was never used
  throw new TsError('InvalidArgument', `open ${path}: not a regular file`);
}
