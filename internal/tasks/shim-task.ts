import type { AnyMessage } from '../api/any.ts';
import type { StateResponse } from '../api/generated/containerd.task.v3.ts';
import type { ProcessInfo } from '../api/generated/containerd.v1.types.ts';
import { timestampToNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { ShimAddress } from './bootstrap-answer.ts';
import type { Bundle } from './bundle.ts';
import type { ShimTasks } from './shim-client.ts';
import { ShimConnection } from './shim-connection.ts';
import type { ShimLog } from './shim-log.ts';
import type { Exit, Task, TaskIo } from './task-manager.ts';

/** Exit status when nobody can tell the real one. */
export const UNKNOWN_EXIT_STATUS = 255;

export interface ShimTaskOptions {
  readonly bundle: Bundle;
  readonly runtime: string;
  readonly address: ShimAddress;
  readonly log: ShimLog | undefined;
  readonly connectTimeoutMs: number;
  /** Called once when the shim has died; cleans up after it and tells how its task ended. */
  readonly onDead: (task: ShimTask) => Promise<Exit>;
}

/** A task in a shim, over one connection that is made again when it breaks. */
export class ShimTask implements Task {
  readonly namespace: string;
  readonly id: string;
  readonly runtime: string;
  readonly bundle: Bundle;
  readonly address: ShimAddress;
  readonly #connection: ShimConnection;
  /** Set when the shim has died: how the task ended, known when the clean-up is over. */
  #death: Promise<Exit> | undefined;

  constructor(options: ShimTaskOptions) {
    const { bundle, runtime, address, log, connectTimeoutMs, onDead } = options;
    this.namespace = bundle.namespace;
    this.id = bundle.id;
    this.runtime = runtime;
    this.bundle = bundle;
    this.address = address;
    this.#connection = new ShimConnection({
      ...{ id: bundle.id, address, log, connectTimeoutMs },
      onDead: () => {
        this.#death = onDead(this);
        this.#death.catch(() => {}); // whoever waits hears of it; nobody has to wait
      },
    });
  }

  /** Whether the shim has been found dead. */
  get isDead(): boolean {
    return this.#connection.isDead;
  }

  /** Whether a connection to the shim is open. */
  get isConnected(): boolean {
    return this.#connection.isConnected;
  }

  /** The shim's own service. Throws Unavailable when the shim cannot be reached. */
  shim(): Promise<ShimTasks> {
    return this.#connection.tasks();
  }

  /** Whether it has been deleted, and its shim is asked nothing any more. */
  get isLetGo(): boolean {
    return this.#connection.isLetGo;
  }

  /** From now on the end of the shim is what was asked for, and no death. */
  expectEnd(): void {
    this.#connection.expectEnd();
  }

  /** Lets go of the shim, see {@link ShimConnection.detach}. */
  detach(waitMs = 0): Promise<void> {
    return this.#connection.detach(waitMs);
  }

  /**
   * Makes a call to the shim. When another one deletes the task meanwhile, the connection goes with it: NotFound, as if this
   * one had come later.
   */
  async #call<T>(method: (shim: ShimTasks) => Promise<T>): Promise<T> {
    try {
      return await method(await this.shim());
    } catch (thrown) {
      throw this.#connection.isLetGo ? taskNotFound(this.id) : thrown;
    }
  }

  async state(execId: string, timeoutMs?: number): Promise<StateResponse> {
    const options = timeoutMs === undefined ? {} : { timeoutMs };
    return await this.#call((shim) => shim.state({ id: this.id, execId }, options));
  }

  async start(execId: string): Promise<number> {
    return (await this.#call((shim) => shim.start({ id: this.id, execId }))).pid;
  }

  async kill(execId: string, signal: number, all: boolean): Promise<void> {
    await this.#call((shim) => shim.kill({ id: this.id, execId, signal, all }));
  }

  async exec(execId: string, spec: AnyMessage | undefined, io: TaskIo): Promise<void> {
    await this.#call((shim) => shim.exec({ id: this.id, execId, spec, ...io }));
  }

  async deleteExec(execId: string): Promise<Exit> {
    return exitOf(await this.#call((shim) => shim.delete({ id: this.id, execId })));
  }

  async resizePty(execId: string, width: number, height: number): Promise<void> {
    await this.#call((shim) => shim.resizePty({ id: this.id, execId, width, height }));
  }

  async closeStdin(execId: string): Promise<void> {
    await this.#call((shim) => shim.closeIO({ id: this.id, execId, stdin: true }));
  }

  async pause(): Promise<void> {
    await this.#call((shim) => shim.pause({ id: this.id }));
  }

  async resume(): Promise<void> {
    await this.#call((shim) => shim.resume({ id: this.id }));
  }

  async pids(): Promise<ProcessInfo[]> {
    return (await this.#call((shim) => shim.pids({ id: this.id }))).processes;
  }

  async checkpoint(path: string, options: AnyMessage | undefined): Promise<void> {
    await this.#call((shim) => shim.checkpoint({ id: this.id, path, options }));
  }

  async update(
    resources: AnyMessage | undefined,
    annotations: ReadonlyMap<string, string>,
  ): Promise<void> {
    await this.#call((shim) => shim.update({ id: this.id, resources, annotations }));
  }

  async stats(): Promise<AnyMessage | undefined> {
    return (await this.#call((shim) => shim.stats({ id: this.id }))).stats;
  }

  async wait(execId: string, signal?: AbortSignal): Promise<Exit> {
    for (;;) {
      const client = await this.#connection.connectForWait(signal);
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
        if (!client.isClosed) throw thrown;
        if (this.#connection.isLetGo) throw taskNotFound(this.id);
        if (this.#connection.isDetached) throw thrown;
      }
    }
  }
}

export function taskNotFound(id: string): TsError {
  return new TsError('NotFound', `task ${id} not found`, { fields: { id } });
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
