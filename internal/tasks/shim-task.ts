import type { AnyMessage } from '../api/any.ts';
import type { StateResponse } from '../api/generated/containerd.task.v3.ts';
import type { ProcessInfo } from '../api/generated/containerd.v1.types.ts';
import { timestampToNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { ShimAddress } from './bootstrap-answer.ts';
import type { Bundle } from './bundle.ts';
import { isDeadShim, ShimClient, type ShimTasks } from './shim-client.ts';
import type { ShimLog } from './shim-log.ts';
import type { Exit, Task, TaskIo } from './task-manager.ts';

/** How long connecting to a shim may take; on a Unix socket it is immediate or hopeless. */
export const CONNECT_TIMEOUT_MS = 5000;

/** Exit status when nobody can tell the real one. */
export const UNKNOWN_EXIT_STATUS = 255;

/** Longest pause between attempts to reach a shim that does not answer. */
const MAX_RETRY_MS = 10_000;

export interface ShimTaskOptions {
  readonly bundle: Bundle;
  readonly runtime: string;
  readonly address: ShimAddress;
  readonly log: ShimLog | undefined;
  /** Called once when the shim has died; cleans up after it and tells how its task ended. */
  readonly onDead: (task: ShimTask) => Promise<Exit>;
}

/**
 * A task in a shim, over one connection that is made again when it breaks. The shim counts as dead
 * only when its socket refuses connections: a shim that is slow, stopped or confused keeps its
 * task.
 */
export class ShimTask implements Task {
  readonly namespace: string;
  readonly id: string;
  readonly runtime: string;
  readonly bundle: Bundle;
  readonly address: ShimAddress;
  readonly #options: ShimTaskOptions;
  #client: ShimClient | undefined;
  #connecting: Promise<ShimClient> | undefined;
  #isDetached = false;
  #isEnding = false;
  /** Set when the shim has died: how the task ended, known when the clean-up is over. */
  #death: Promise<Exit> | undefined;
  #retry: NodeJS.Timeout | undefined;

  constructor(options: ShimTaskOptions) {
    this.#options = options;
    this.namespace = options.bundle.namespace;
    this.id = options.bundle.id;
    this.runtime = options.runtime;
    this.bundle = options.bundle;
    this.address = options.address;
  }

  /** Whether the shim has been found dead. */
  get isDead(): boolean {
    return this.#death !== undefined;
  }

  /** Whether a connection to the shim is open. */
  get isConnected(): boolean {
    return this.#client !== undefined && !this.#client.isClosed;
  }

  /** The shim's own service. Throws Unavailable when the shim cannot be reached. */
  async shim(): Promise<ShimTasks> {
    return (await this.#connect()).tasks;
  }

  /** From now on the end of the shim is what was asked for, and no death. */
  expectEnd(): void {
    this.#isEnding = true;
  }

  /**
   * Lets go of the shim: the connection is closed, its end means nothing any more. With
   * `waitMs` the shim gets so long to close the connection by ending itself.
   */
  async detach(waitMs = 0): Promise<void> {
    this.#isDetached = true;
    clearTimeout(this.#retry);
    const client = this.#client;
    if (client !== undefined && waitMs > 0) await within(client.closed, waitMs);
    client?.[Symbol.dispose]();
    this.#options.log?.[Symbol.dispose]();
  }

  async state(execId: string, timeoutMs?: number): Promise<StateResponse> {
    const shim = await this.shim();
    return shim.state({ id: this.id, execId }, timeoutMs === undefined ? {} : { timeoutMs });
  }

  async start(execId: string): Promise<number> {
    return (await (await this.shim()).start({ id: this.id, execId })).pid;
  }

  async kill(execId: string, signal: number, all: boolean): Promise<void> {
    await (await this.shim()).kill({ id: this.id, execId, signal, all });
  }

  async exec(execId: string, spec: AnyMessage | undefined, io: TaskIo): Promise<void> {
    await (await this.shim()).exec({ id: this.id, execId, spec, ...io });
  }

  async deleteExec(execId: string): Promise<Exit> {
    const shim = await this.shim();
    return exitOf(await shim.delete({ id: this.id, execId }));
  }

  async resizePty(execId: string, width: number, height: number): Promise<void> {
    await (await this.shim()).resizePty({ id: this.id, execId, width, height });
  }

  async closeStdin(execId: string): Promise<void> {
    await (await this.shim()).closeIO({ id: this.id, execId, stdin: true });
  }

  async pause(): Promise<void> {
    await (await this.shim()).pause({ id: this.id });
  }

  async resume(): Promise<void> {
    await (await this.shim()).resume({ id: this.id });
  }

  async pids(): Promise<ProcessInfo[]> {
    return (await (await this.shim()).pids({ id: this.id })).processes;
  }

  async checkpoint(path: string, options: AnyMessage | undefined): Promise<void> {
    await (await this.shim()).checkpoint({ id: this.id, path, options });
  }

  async update(
    resources: AnyMessage | undefined,
    annotations: ReadonlyMap<string, string>,
  ): Promise<void> {
    await (await this.shim()).update({ id: this.id, resources, annotations });
  }

  async stats(): Promise<AnyMessage | undefined> {
    return (await (await this.shim()).stats({ id: this.id })).stats;
  }

  async wait(execId: string, signal?: AbortSignal): Promise<Exit> {
    for (;;) {
      const client = await this.#connectForWait(signal);
      if (client === undefined) {
        const { pid, status, at } = await (this.#death as Promise<Exit>);
        return execId === '' ? { pid, status, at } : { pid: 0, status, at };
      }
      try {
        const options = signal === undefined ? {} : { signal };
        const response = await client.tasks.wait({ id: this.id, execId }, options);
        return { pid: 0, status: response.exitStatus, at: nsOf(response.exitedAt) };
      } catch (thrown) {
        // An answer of the shim is final; a lost connection is not the end of the process.
        if (!client.isClosed || this.#isDetached) throw thrown;
      }
    }
  }

  /** A connection, as often as it takes; undefined when the shim is dead. */
  async #connectForWait(signal: AbortSignal | undefined): Promise<ShimClient | undefined> {
    for (let pauseMs = 100; ; pauseMs = Math.min(2 * pauseMs, MAX_RETRY_MS)) {
      signal?.throwIfAborted();
      try {
        return await this.#connect();
      } catch (thrown) {
        if (this.#death !== undefined) return undefined;
        if (this.#isDetached) throw thrown;
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async #connect(): Promise<ShimClient> {
    if (this.#client !== undefined && !this.#client.isClosed) return this.#client;
    if (this.#death !== undefined || this.#isDetached) {
      throw new TsError('Unavailable', `shim of ${this.id} has ended`, { code: 'TS_SHIM_DEAD' });
    }
    this.#connecting ??= this.#open().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #open(): Promise<ShimClient> {
    try {
      const client = await ShimClient.connect(this.address, CONNECT_TIMEOUT_MS);
      if (this.#isDetached) {
        client[Symbol.dispose]();
        throw new TsError('Unavailable', `shim of ${this.id} has ended`);
      }
      this.#client = client;
      void client.closed.then(() => this.#onLost(client, 0));
      return client;
    } catch (thrown) {
      if (isDeadShim(thrown) && !this.#isDetached && !this.#isEnding) this.#die();
      throw thrown;
    }
  }

  /** After a lost connection: finds out whether the shim lives, however long that takes. */
  #onLost(client: ShimClient, pauseMs: number): void {
    if (this.#isDetached || this.#isEnding || this.isDead || this.#client !== client) return;
    this.#retry = setTimeout(() => {
      this.#connect().catch(() => {
        this.#onLost(client, Math.min(Math.max(2 * pauseMs, 100), MAX_RETRY_MS));
      });
    }, pauseMs);
    this.#retry.unref();
  }

  #die(): void {
    if (this.#death !== undefined) return;
    this.#death = this.#options.onDead(this);
    this.#death.catch(() => {}); // whoever waits hears of it; nobody has to wait
    this.#options.log?.[Symbol.dispose]();
  }
}

/** The exit in a shim's answer to Delete. */
export function exitOf(response: {
  pid: number;
  exitStatus: number;
  exitedAt: { seconds: bigint; nanos: number } | undefined;
}): Exit {
  return { pid: response.pid, status: response.exitStatus, at: nsOf(response.exitedAt) };
}

function nsOf(timestamp: { seconds: bigint; nanos: number } | undefined): bigint | undefined {
  return timestamp === undefined ? undefined : timestampToNs(timestamp);
}

/** Waits for a promise, but no longer than `ms`. */
export async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
