import type { AnyMessage } from '../api/any.ts';
import type { StateResponse } from '../api/generated/containerd.task.v3.ts';
import type { Mount, RuntimeInfo } from '../api/generated/containerd.types.ts';
import type { ProcessInfo } from '../api/generated/containerd.v1.types.ts';
import type { Init } from '../api/init.ts';
import type { Scope, TimeNs } from '../metadata/scope.ts';
import type { ShimAddress } from './bootstrap-answer.ts';

/** Where the standard streams of a process go: '' for none, paths of fifos, or URIs. */
export interface TaskIo {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly terminal: boolean;
}

/** What a task is made from. */
export interface NewTask {
  readonly id: string;
  /** A runtime's name (`io.containerd.runc.v2`) or the absolute path of a shim. */
  readonly runtime: string;
  /** The OCI spec as Any of JSON. */
  readonly spec: AnyMessage | undefined;
  /** Mounts, in order, that make the root file system; the shim mounts them. */
  readonly rootfs: readonly Init<Mount>[];
  readonly io: TaskIo;
  /** Options of the runtime, for `shim start` and for the shim's Create. */
  readonly options: AnyMessage | undefined;
  /** Directory of a checkpoint to restore from, or ''. */
  readonly checkpoint: string;
  /**
   * Puts the files of a checkpoint into a directory that lasts as long as the task, to be restored from
   * when it is started; instead of `checkpoint`.
   */
  readonly unpackCheckpoint?: ((path: string) => Promise<void>) | undefined;
  /** Sandbox whose shim it shares, or ''. */
  readonly sandbox: string;
  /** A shim that runs already and takes the task, in place of its sandbox's. */
  readonly shim?: ShimAddress | undefined;
}

/** How a process ended. */
export interface Exit {
  readonly pid: number;
  /** Exit code, or 128 + the signal; 255 when nobody can tell any more. */
  readonly status: number;
  readonly at: TimeNs | undefined;
}

/**
 * A task: the process of a container and those that were executed beside it. `execId` names one of
 * the latter, '' the first. Every method asks the shim; errors have the shim's kind and text, and
 * Unavailable says that the shim did not answer.
 */
export interface Task {
  readonly namespace: string;
  readonly id: string;
  /** Name or path of the runtime, as the client gave it; '' for a task of a daemon that did not note it. */
  readonly runtime: string;
  state(execId: string, timeoutMs?: number): Promise<StateResponse>;
  /** Starts a process and returns its pid. */
  start(execId: string): Promise<number>;
  kill(execId: string, signal: number, all: boolean): Promise<void>;
  exec(execId: string, spec: AnyMessage | undefined, io: TaskIo): Promise<void>;
  /** Forgets an executed process that has ended. */
  deleteExec(execId: string): Promise<Exit>;
  resizePty(execId: string, width: number, height: number): Promise<void>;
  closeStdin(execId: string): Promise<void>;
  pause(): Promise<void>;
  resume(): Promise<void>;
  pids(): Promise<ProcessInfo[]>;
  checkpoint(path: string, options: AnyMessage | undefined): Promise<void>;
  update(
    resources: AnyMessage | undefined,
    annotations: ReadonlyMap<string, string>,
  ): Promise<void>;
  /** Statistics in the runtime's own type. */
  stats(): Promise<AnyMessage | undefined>;
  /** Waits for the end of a process, be it that of its shim; `signal` gives up. */
  wait(execId: string, signal?: AbortSignal): Promise<Exit>;
}

/** The tasks of all namespaces, which live in shims and outlive the daemon. */
export interface TaskManager {
  /** A task of this runtime, with a shim of its own, is likely to be created at once: what takes long may begin. */
  expect(runtime: string, options: AnyMessage | undefined): void;
  /**
   * Starts a shim, or finds that of the sandbox, and creates the task in it; returns its pid. When
   * that fails, nothing is left. Throws AlreadyExists for a task of that id.
   */
  create(scope: Scope, task: NewTask): Promise<number>;
  /** Throws NotFound. Waits while the daemon is still finding out about a shim after its start. */
  get(scope: Scope, id: string): Promise<Task>;
  /** The tasks of a namespace by id. */
  list(scope: Scope): Promise<Task[]>;
  /** What the shim of a runtime says about itself; for clients that choose by features. */
  runtimeInfo(runtime: string, options: AnyMessage | undefined): Promise<RuntimeInfo>;
  /** Deletes a task that is not running, with its shim when that holds no other. */
  delete(scope: Scope, id: string): Promise<Exit>;
}
