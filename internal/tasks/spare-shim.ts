/**
 * One shim more than there are pods, if the configuration asks for it: a process of our own shim that has been started and
 * has loaded what it needs, and waits for the next pod. It is a child of the daemon as every shim is, `ps` shows it with
 * the argument `spare`, and it ends with the daemon, in whatever way that ends, unless a pod has taken it.
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
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

interface Spare {
  readonly binary: string;
  readonly child: ChildProcessWithoutNullStreams;
  readonly canceled: AbortController;
}

export class SpareShim {
  readonly #daemon: DaemonAddresses;
  readonly #log: Logger;
  #spare: Spare | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(daemon: DaemonAddresses, log: Logger) {
    this.#daemon = daemon;
    this.#log = log;
  }

  /**
   * Lets the spare answer a call, if there is one of this program. Undefined when there is none, or when it has ended
   * without an answer: the caller then starts a shim. Whichever it is, another spare follows.
   */
  async answer(call: Omit<ShimCall, 'verb'>): Promise<ShimOutput | undefined> {
    const spare = this.#take(call.binary);
    this.#prepare(call.binary, call.stdin);
    if (spare === undefined) return undefined;
    const { child, canceled } = spare;
    const { namespace, id, isDebug, daemon } = call;
    const line = {
      ...{ daemon: process.pid, namespace, id, address: daemon.grpc, bundle: call.bundle, isDebug },
      input: Buffer.from(call.stdin).toString('base64'),
    };
    const stdin = Buffer.from(`${JSON.stringify(line)}\n`);
    try {
      return await answerOf(
        child,
        canceled,
        { ...call, stdin },
        { verb: 'spare', isStaying: true },
      );
    } catch (thrown) {
      const error = TsError.from(thrown);
      if (error.code !== 'TS_SHIM_CALL') throw error;
      this.#log.warn({ shim: id, namespace, error }, 'spare shim; another is started in its place');
      return undefined;
    }
  }

  /** Ends the spare, and makes no more. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#spare?.child.kill('SIGKILL');
  }

  #take(binary: string): Spare | undefined {
    const spare = this.#spare;
    if (spare === undefined || spare.binary !== binary) return undefined;
    this.#spare = undefined;
    return spare;
  }

  /** Starts the next spare in a moment; `options` are those of the shim that was started now. */
  #prepare(binary: string, options: Uint8Array): void {
    clearTimeout(this.#timer);
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => {
      if (this.#spare !== undefined && this.#spare.binary !== binary) {
        this.#spare.child.kill('SIGKILL');
        this.#spare = undefined;
      }
      if (this.#spare === undefined) this.#start(binary, options);
    }, DELAY_MS).unref();
  }

  #start(binary: string, options: Uint8Array): void {
    const canceled = new AbortController();
    const child = spawnSpare(binary, this.#daemon, canceled.signal);
    const spare = { binary, child, canceled };
    this.#spare = spare;
    const ended = (how: unknown): void => {
      if (this.#spare !== spare) return; // a pod's, or not wanted any more
      this.#spare = undefined;
      if (!this.#isClosed) this.#log.warn({ binary, how: String(how) }, 'spare shim has ended');
    };
    child.once('error', ended);
    child.once('exit', (code, signal) => ended(signal ?? code));
    child.stdin.on('error', () => {}); // its end is an event of its own
    child.stdin.write(`${JSON.stringify({ options: Buffer.from(options).toString('base64') })}\n`);
    child.unref();
    for (const stream of [child.stdin, child.stdout, child.stderr]) {
      (stream as unknown as { unref(): void }).unref();
    }
  }
}
