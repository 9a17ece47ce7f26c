/**
 * Shims of ours that are started before their tasks are there: a process takes longer to load what a shim needs than all
 * that is done for a task beside it. One is started when a container is created, whose task mostly follows at once, and
 * when a task is created for which none waits; `spare_shim` keeps one more at all times.
 *
 * Each is a child of the daemon as every shim is, `ps` shows it with the argument `spare`, and it ends with the daemon, in
 * whatever way that ends, unless a task has taken it.
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { TsError } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import {
  answerOf,
  type DaemonAddresses,
  type ShimCall,
  type ShimOutput,
  spawnSpare,
} from './shim-call.ts';

/** How long after the start of a pod the next spare is begun: what the pod still has to do comes first. */
const DELAY_MS = 500;

/** How long after its container a task is waited for: clients that want one ask for it at once. */
const EXPECTED_MS = 5_000;

/** More at a time only take the processors from each other. */
const MAX_WAITING = availableParallelism();

interface Spare {
  readonly binary: string;
  readonly child: ChildProcessWithoutNullStreams;
  readonly canceled: AbortController;
  hasEnded: boolean;
  /** Runs while a task is expected for it. */
  timer: NodeJS.Timeout | undefined;
}

/** A process that somebody has, and that ends with what it is for unless it becomes a shim. */
export interface TakenSpare extends Disposable {
  /**
   * Lets the process answer a call, as `start` would. Undefined when it was killed or could not be started: the caller
   * then starts a shim.
   */
  answer(call: Omit<ShimCall, 'verb'>): Promise<ShimOutput | undefined>;
}

export interface SpareShimOptions {
  /** Whether one is there at all times, from the first task on. */
  readonly keepsOne: boolean;
}

export class SpareShims {
  readonly #daemon: DaemonAddresses;
  readonly #log: Logger;
  readonly #keepsOne: boolean;
  #waiting: Spare[] = [];
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(daemon: DaemonAddresses, log: Logger, { keepsOne }: SpareShimOptions) {
    this.#daemon = daemon;
    this.#log = log;
    this.#keepsOne = keepsOne;
  }

  /** Sees to it that a shim waits for a task that is to come. `options` are those of its runtime. */
  expect(binary: string, options: Uint8Array): void {
    if (this.#isClosed) return;
    const free = this.#waiting.find((one) => one.binary === binary && one.timer === undefined);
    if (free === undefined && this.#waiting.length >= MAX_WAITING) return;
    const spare = free ?? this.#start(binary, options);
    if (spare.hasEnded) return;
    spare.timer = setTimeout(() => this.#giveUp(spare), EXPECTED_MS).unref();
    if (free === undefined) this.#waiting.push(spare);
  }

  /** A shim that waits, or one that is started now. */
  take(binary: string, options: Uint8Array): TakenSpare {
    const index = this.#waiting.findIndex((one) => one.binary === binary);
    const spare = this.#waiting.splice(index, index < 0 ? 0 : 1)[0] ?? this.#start(binary, options);
    clearTimeout(spare.timer);
    if (this.#keepsOne) this.#prepare(binary, options);
    let isCalled = false;
    return {
      answer: (call) => {
        isCalled = true;
        return this.#answer(spare, call);
      },
      [Symbol.dispose]: () => {
        if (!isCalled) spare.child.kill('SIGKILL');
      },
    };
  }

  /** Ends those that wait, and makes no more. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    for (const spare of this.#waiting) this.#end(spare);
  }

  async #answer(
    { child, canceled, hasEnded }: Spare,
    call: Omit<ShimCall, 'verb'>,
  ): Promise<ShimOutput | undefined> {
    if (hasEnded) return undefined;
    const { namespace, id, isDebug, daemon } = call;
    const line = {
      ...{ daemon: process.pid, namespace, id, address: daemon.grpc, bundle: call.bundle, isDebug },
      input: Buffer.from(call.stdin).toString('base64'),
    };
    const stdin = Buffer.from(`${JSON.stringify(line)}\n`);
    try {
      const how = { verb: 'start', isStaying: true };
      return await answerOf(child, canceled, { ...call, stdin }, how);
    } catch (thrown) {
      const error = TsError.from(thrown);
      // One that says what is wrong would say it again.
      if (error.code !== 'TS_SHIM_CALL' || child.signalCode === null) throw error;
      this.#log.info({ shim: id, namespace, error }, 'spare shim; another is started in its place');
      return undefined;
    }
  }

  /** Starts the next spare in a moment; `options` are those of the shim that was taken now. */
  #prepare(binary: string, options: Uint8Array): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      for (const spare of this.#waiting) {
        if (spare.binary !== binary && spare.timer === undefined) this.#end(spare);
      }
      if (this.#waiting.some((spare) => spare.timer === undefined)) return;
      const spare = this.#start(binary, options);
      if (!spare.hasEnded) this.#waiting.push(spare);
    }, DELAY_MS).unref();
  }

  /** No task has come for a spare: it is the one that is kept, or nobody's. */
  #giveUp(spare: Spare): void {
    spare.timer = undefined;
    const isKept = this.#keepsOne && !this.#waiting.some((one) => one !== spare && !one.timer);
    if (!isKept) this.#end(spare);
  }

  #end(spare: Spare): void {
    clearTimeout(spare.timer);
    this.#waiting = this.#waiting.filter((one) => one !== spare);
    spare.child.kill('SIGKILL');
  }

  #start(binary: string, options: Uint8Array): Spare {
    const canceled = new AbortController();
    const child = spawnSpare(binary, this.#daemon, canceled.signal);
    const spare: Spare = { binary, child, canceled, hasEnded: false, timer: undefined };
    const ended = (how: unknown): void => {
      spare.hasEnded = true;
      if (!this.#waiting.includes(spare)) return; // a task's, or not wanted any more
      clearTimeout(spare.timer);
      this.#waiting = this.#waiting.filter((one) => one !== spare);
      this.#log.warn({ binary, how: String(how) }, 'spare shim has ended');
    };
    child.once('exit', (code, signal) => ended(signal ?? code));
    child.on('error', ended);
    if (child.pid === undefined) {
      spare.hasEnded = true; // the event follows; such a child need not have streams
      return spare;
    }
    child.stdin.on('error', () => {}); // its end is an event of its own
    child.stdin.write(`${JSON.stringify({ options: Buffer.from(options).toString('base64') })}\n`);
    child.unref();
    for (const stream of [child.stdin, child.stdout, child.stderr]) {
      (stream as unknown as { unref(): void }).unref();
    }
    return spare;
  }
}
