/**
 * Carries bytes from a descriptor to a sink for as long as both exist.
 *
 * Between two pipes the kernel moves pages (splice), so that an idle or a busy container costs the
 * shim no buffer. Else one buffer serves all pumps: what a sink does not take at once is copied out
 * of it. Nothing is read while the sink is full: the container then waits in its write, as it would
 * on a slow terminal.
 *
 * A pump that stands still stops its container, and one that ends without a word loses a log. So whatever is thrown in its
 * turn is told and tried again, and what is given up in the end is told as well.
 */
import { errnoName } from '../errors/index.ts';
import {
  bytesReadable,
  FdWatch,
  isHungUp,
  type OwnedFd,
  readNow,
  setNonBlocking,
  spliceNow,
} from '../linux/index.ts';
import { type Sink, SinkError } from './sink.ts';

/** EIO: a terminal that no process has open now. */
const EIO = 5;
const EINVAL = 22;

const SCRATCH = Buffer.allocUnsafeSlow(64 << 10);
/** Failures in a row before a source, or what a sink does not take, is given up and lost. */
const MAX_FAILURES = 20;
/** Bytes after which other pumps get their turn. */
const TURN_BYTES = 1 << 20;
/**
 * How often a terminal that no process has open (one may open it again) or what has failed is looked at,
 * and how long a terminal whose process is dead must be quiet to count as read out.
 */
const PAUSE_MS = 50;

export interface PumpOptions {
  /** The pump owns it. */
  readonly source: OwnedFd;
  /** The pump owns it. */
  readonly sink: Sink;
  readonly isSourceTerminal?: boolean;
  /** Reads on when the sink is broken, and throws away: for output, whose writer must not stop. */
  readonly discardsWhenBroken?: boolean;
  /** Hears why the sink broke, and of what fails: when that begins, and when it is given up. Must not throw. */
  readonly onTrouble?: (error: SinkError | PumpError) => void;
}

/** Something failed that the pump tries again for a while; `cause` is what was thrown, if anything was. */
export class PumpError extends Error {
  constructor(what: string, isGivenUp: boolean, cause?: unknown) {
    super(`${what}, ${isGivenUp ? 'given up' : 'tried again'}`, { cause });
  }
}

export class Pump {
  readonly #options: PumpOptions;
  readonly #source: OwnedFd;
  readonly #sink: Sink;
  readonly #watch: FdWatch;
  #splices: boolean;
  #rest: Buffer | undefined;
  #isDiscarding = false;
  #isDetached = false;
  #isClosed = false;
  /** Waits for the sink; the source is not looked at meanwhile. */
  #isBlocked = false;
  /** No process will write any more, except such as outlive the one that this pump is for. */
  #isLast = false;
  #timer: NodeJS.Timeout | undefined;
  /** Turns that have failed since the last whose source could be read. */
  #failedReads = 0;
  /** Calls of the sink that have failed since the last that did not. */
  #failedWrites = 0;
  #moved = 0;
  /** Value of `#moved` from which on a flush is done. */
  #flushAt = Number.POSITIVE_INFINITY;
  #settled: (() => void)[] = [];

  constructor(options: PumpOptions) {
    setNonBlocking(options.source.number);
    this.#options = options;
    this.#source = options.source;
    this.#sink = options.sink;
    this.#splices = options.sink.pipe !== undefined && options.isSourceTerminal !== true;
    this.#watch = new FdWatch(options.source.number, () => this.#turn());
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Begins to carry. */
  start(): void {
    this.#watch.wait({ readable: true });
  }

  /**
   * Resolves when all that was written to the source before this call has arrived at the sink, or
   * the pump is closed; others may write on. To be called when the process is dead: a terminal
   * without processes has ended then.
   */
  async flush(): Promise<void> {
    this.#isLast = true;
    if (this.#isClosed) return;
    const settled = new Promise<void>((resolve) => this.#settled.push(resolve));
    // What is in a pipe can be counted; in a terminal more may be on its way through the kernel.
    if (this.#options.isSourceTerminal !== true) {
      this.#guarded(() => {
        this.#flushAt = this.#moved + bytesReadable(this.#source.number);
      });
    }
    if (!this.#isBlocked) {
      this.#watch.stop();
      this.#turn();
    }
    await settled;
  }

  /**
   * Ends the sink once a flush that is under way is done, however slow its reader; what comes after
   * that is read and thrown away: its writers must not stop.
   */
  detach(): void {
    if (this.#isClosed || this.#isDetached) return;
    this.#isDetached = true;
    if (this.#settled.length === 0) this.#endSink();
  }

  /** Stops carrying and closes both sides; what was not carried is lost. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#watch.close();
    this.#source.close();
    this.#closeSink();
    this.#settle();
  }

  #turn(): void {
    clearTimeout(this.#timer);
    this.#isBlocked = false;
    this.#guarded(() => this.#carry());
  }

  /** Every way into the pump but those of its owner: nobody would go on after an exception. */
  #guarded(step: () => void): void {
    try {
      step();
    } catch (thrown) {
      if (!this.#isClosed) this.#readFailed(`carry: ${thrown}`, thrown);
    }
  }

  #carry(): void {
    let budget = TURN_BYTES;
    while (budget > 0 && !this.#isClosed) {
      if (this.#rest === undefined && this.#moved >= this.#flushAt) this.#settleWhenIdle();
      const moved = this.#deliverRest() ? this.#move() : this.#waitForRoom();
      if (moved === 'wait') return;
      this.#moved += moved;
      budget -= moved;
    }
    if (!this.#isClosed) this.#watch.wait({ readable: true });
  }

  /** Moves some bytes; `wait` when something has been arranged that goes on later. */
  #move(): number | 'wait' {
    return this.#splices && !this.#isDiscarding ? this.#splice() : this.#copy();
  }

  #splice(): number | 'wait' {
    const { pipe } = this.#sink;
    if (pipe === undefined) throw new Error('internal error: splice to a sink that is no pipe');
    const result = spliceNow(this.#source.number, pipe, TURN_BYTES);
    if ('bytes' in result) return result.bytes > 0 ? this.#hasRead(result.bytes) : this.#atEnd();
    if ('wouldBlock' in result) {
      if (bytesReadable(this.#source.number) === 0) return this.#waitForSource();
      return this.#waitForRoom();
    }
    if (result.errno === EINVAL) this.#splices = false;
    else this.#broken(new SinkError(result.errno));
    return 0;
  }

  #copy(): number | 'wait' {
    const result = readNow(this.#source.number, SCRATCH);
    if ('errno' in result) {
      const isHangUp = result.errno === EIO && this.#options.isSourceTerminal === true;
      if (!isHangUp) return this.#readFailed(`read: ${errnoName(result.errno)}`);
      // A terminal that no process has open: the end, or a pause in what it is used for.
      return this.#isLast ? this.#end() : this.#lookAgainLater();
    }
    if ('wouldBlock' in result) return this.#waitForSource();
    if (result.bytes === 0) return this.#atEnd();
    const bytes = SCRATCH.subarray(0, result.bytes);
    const taken = this.#offer(bytes);
    if (taken < bytes.length) this.#rest = Buffer.from(bytes.subarray(taken));
    return this.#hasRead(result.bytes);
  }

  #hasRead(bytes: number): number {
    this.#failedReads = 0;
    return bytes;
  }

  /** 0 bytes were read: the end, if nobody can write any more. */
  #atEnd(): 'wait' {
    if (isHungUp(this.#source.number)) return this.#end();
    return this.#readFailed('read: 0 bytes before the end');
  }

  /**
   * Closing the source would end its writer by SIGPIPE, and a log without a word. So a failure is told, and for a second
   * taken for one that may pass.
   */
  #readFailed(what: string, cause?: unknown): 'wait' {
    const isGivenUp = ++this.#failedReads >= MAX_FAILURES;
    if (!isGivenUp) this.#lookAgainLater();
    else if (cause === undefined) this.#end();
    else this.close(); // waiting for the sink may be what throws
    if (isGivenUp || this.#failedReads === 1) this.#tell(new PumpError(what, isGivenUp, cause));
    return 'wait';
  }

  /** Whether nothing is left over from an earlier read. */
  #deliverRest(): boolean {
    if (this.#rest === undefined) return true;
    const taken = this.#offer(this.#rest);
    this.#rest = taken < this.#rest.length ? this.#rest.subarray(taken) : undefined;
    return this.#rest === undefined;
  }

  #offer(bytes: Uint8Array): number {
    if (this.#isDiscarding) return bytes.length;
    try {
      const taken = this.#sink.write(bytes);
      this.#failedWrites = 0;
      return taken;
    } catch (thrown) {
      if (!(thrown instanceof SinkError)) return this.#writeFailed(bytes, thrown);
      this.#broken(thrown);
      return bytes.length;
    }
  }

  /** What the sink could not take is offered again; without it the next bytes may go through. */
  #writeFailed(bytes: Uint8Array, thrown: unknown): number {
    const isGivenUp = ++this.#failedWrites >= MAX_FAILURES;
    if (isGivenUp || this.#failedWrites === 1) {
      this.#tell(new PumpError(`write ${bytes.length} bytes: ${thrown}`, isGivenUp, thrown));
    }
    return isGivenUp ? bytes.length : 0;
  }

  #broken(error: SinkError): void {
    if (this.#options.discardsWhenBroken === true) this.#isDiscarding = true;
    else this.close();
    this.#tell(error);
  }

  #tell(error: SinkError | PumpError): void {
    this.#options.onTrouble?.(error);
  }

  #waitForRoom(): 'wait' {
    if (this.#failedWrites > 0) return this.#lookAgainLater();
    this.#isBlocked = true;
    this.#sink.onRoom(() => this.#turn());
    return 'wait';
  }

  #waitForSource(): 'wait' {
    this.#watch.wait({ readable: true });
    this.#failedReads = 0;
    if (this.#settled.length === 0) return 'wait';
    // Output of a terminal passes through a queue of the kernel's: empty now may not be empty yet.
    if (this.#options.isSourceTerminal !== true) this.#settleWhenIdle();
    else this.#timer = setTimeout(() => this.#guarded(() => this.#settleWhenIdle()), PAUSE_MS);
    return 'wait';
  }

  #lookAgainLater(): 'wait' {
    this.#timer = setTimeout(() => this.#turn(), PAUSE_MS);
    return 'wait';
  }

  #settleWhenIdle(): void {
    if (this.#settled.length === 0) return;
    this.#finishSink();
    if (this.#sink.isIdle || this.#isDiscarding) this.#settle();
    else this.#sink.onRoom(() => this.#guarded(() => this.#settleWhenIdle()));
  }

  #end(): 'wait' {
    this.#finishSink();
    if (this.#sink.isIdle || this.#isDiscarding) this.close();
    else this.#sink.onRoom(() => this.close());
    return 'wait';
  }

  #settle(): void {
    for (const resolve of this.#settled.splice(0)) resolve();
    if (this.#isDetached && !this.#isClosed) this.#endSink();
  }

  #endSink(): void {
    this.#isDiscarding = true;
    this.#rest = undefined;
    this.#closeSink();
    if (this.#isBlocked) this.#turn();
  }

  #finishSink(): void {
    try {
      this.#sink.finish();
    } catch (thrown) {
      this.#tell(new PumpError(`write the rest: ${thrown}`, true, thrown));
    }
  }

  #closeSink(): void {
    try {
      this.#sink.close();
    } catch (thrown) {
      this.#tell(new PumpError(`close: ${thrown}`, true, thrown));
    }
  }
}

/** For a process's input. That the process reads no more is no trouble. */
export function inputPump(
  { reader }: { readonly reader: OwnedFd },
  sink: Sink,
  onTrouble: (stream: string, error: Error) => void,
): Pump {
  return new Pump({
    source: reader,
    sink,
    onTrouble: (error) => {
      if (error instanceof PumpError) onTrouble('stdin', error);
    },
  });
}
