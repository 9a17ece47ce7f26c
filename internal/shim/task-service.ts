/**
 * The task API (containerd.task.v2 and .v3, whose messages are the same) over the containers of one
 * shim: finds what a request is about and puts the answer into the wire's words.
 */
import { join } from 'node:path';
import { type AnyMessage, packAny, unpackAny } from '../api/any.ts';
import { CheckpointOptions, ProcessDetails } from '../api/generated/containerd.runc.v1.ts';
import type { DeleteResponse, StateResponse, Task } from '../api/generated/containerd.task.v2.ts';
import { Status } from '../api/generated/containerd.v1.types.ts';
import type { Init } from '../api/init.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { timestampFromNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import { Abandonment } from './abandonment.ts';
import type { Container, ShimContext } from './container.ts';
import { createContainer } from './create-container.ts';
import type { ProcessExit } from './exit-ledger.ts';
import { withinDeadline } from './process-io.ts';
import type { ProcessStatus } from './process-state.ts';
import { encodeStats } from './stats.ts';
import type { TaskProcess } from './task-process.ts';

const STATUS: Readonly<Record<ProcessStatus, Status>> = {
  created: Status.CREATED,
  running: Status.RUNNING,
  paused: Status.PAUSED,
  stopped: Status.STOPPED,
  deleted: Status.STOPPED,
};

/** How long a deletion waits for the end of a creation that was given up. */
const ABANDON_MS = 15_000;

export interface TaskServiceOptions {
  readonly context: ShimContext;
  readonly isDebug: boolean;
  /** Called for Shutdown when no container is left. */
  readonly onShutdown: () => void;
}

/** A container that is being made: its id is taken. */
class Making {
  readonly abandonment: Abandonment;
  /** Settles when it has become a container or nothing. */
  readonly end = Promise.withResolvers<void>();

  constructor(abandonment: Abandonment) {
    this.abandonment = abandonment;
  }
}

/** The containers of a shim, by id. */
export class TaskService {
  readonly #options: TaskServiceOptions;
  readonly #containers = new Map<string, Container | Making>();
  /** What is created from now on would be left without a parent. */
  #isLeaving = false;
  #isHeld = false;
  #leavesWhenEmpty = false;

  constructor(options: TaskServiceOptions) {
    this.#options = options;
  }

  /** The containers that exist. */
  get containers(): Container[] {
    return [...this.#containers.values()].filter(
      (entry): entry is Container => !(entry instanceof Making),
    );
  }

  /** A container that was created. Throws NotFound. */
  container(id: string): Container {
    return this.#find(id);
  }

  get isEmpty(): boolean {
    return this.#containers.size === 0 && !this.#isHeld;
  }

  /** Keeps the shim although it may have no container: it is that of a sandbox. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Ends the {@link hold}. */
  release(): void {
    this.#isHeld = false;
  }

  /** Lets the shim leave with its last container, or at once without any. */
  leaveWhenEmpty(): void {
    this.#leavesWhenEmpty = true;
    this.#leaveIfEmpty();
  }

  /** Throws Unavailable when the shim is leaving: a new container would be without a parent. */
  assertStays(what: string): void {
    if (this.#isLeaving) throw new TsError('Unavailable', `${what}: the shim is leaving`);
  }

  #forget(id: string): void {
    this.#containers.delete(id);
    if (this.#leavesWhenEmpty) this.#leaveIfEmpty();
  }

  #leaveIfEmpty(): void {
    if (!this.isEmpty) return;
    this.#isLeaving = true;
    this.#options.onShutdown();
  }

  readonly handlers: ServiceHandlers<typeof Task> = {
    create: async (request, call) => {
      const { id } = request;
      this.assertStays(`task ${id}`);
      if (this.#containers.has(id)) throw new TsError('AlreadyExists', `task ${id}`);
      using abandonment = new Abandonment(call.signal);
      const making = new Making(abandonment);
      this.#containers.set(id, making);
      try {
        const { context, isDebug } = this.#options;
        const { signal } = abandonment;
        const container = await createContainer(request, { context, isDebug, signal });
        this.#containers.set(id, container);
        return { pid: container.init.pid };
      } catch (thrown) {
        this.#forget(id);
        throw thrown;
      } finally {
        making.end.resolve();
      }
    },

    start: async ({ id, execId }, call) => {
      using abandonment = new Abandonment(call.signal);
      return { pid: await this.#find(id).start(execId, abandonment.signal) };
    },

    state: async ({ id, execId }) => {
      const container = this.#find(id);
      return stateOf(container, container.process(execId));
    },

    delete: async ({ id, execId }) => {
      await this.#endMaking(id);
      const process = await this.#find(id).delete(execId);
      if (execId === '') this.#forget(id);
      return deleteResponse(process);
    },

    pids: async ({ id }) => {
      const container = this.#find(id);
      const pids = await livePids(container);
      const execs = new Map([...container.execs].map(({ pid, execId }) => [pid, execId]));
      const processes = pids.map((pid) => {
        const execId = execs.get(pid);
        return execId === undefined ? { pid } : { pid, info: packAny(ProcessDetails, { execId }) };
      });
      return { processes };
    },

    pause: async ({ id }) => {
      await this.#find(id).pause();
      return {};
    },

    resume: async ({ id }) => {
      await this.#find(id).resume();
      return {};
    },

    checkpoint: async ({ id, path, options }) => {
      const given = unpackAny(options, CheckpointOptions) ?? CheckpointOptions.create();
      const container = this.#find(id);
      await container.checkpoint({
        imagePath: path,
        workPath: given.workPath || join(container.bundle, 'work', 'criu-work'),
        parentPath: given.parentPath,
        leaveRunning: !given.exit,
        openTcp: given.openTcp,
        externalUnixSockets: given.externalUnixSockets,
        terminal: given.terminal,
        fileLocks: given.fileLocks,
        emptyNamespaces: given.emptyNamespaces,
        cgroupsMode: given.cgroupsMode,
      });
      return {};
    },

    kill: async ({ id, execId, signal, all }) => {
      await this.#find(id).kill(execId, signal, all);
      return {};
    },

    exec: async (request) => {
      const { id, execId, stdin, stdout, stderr, terminal } = request;
      const container = this.#find(id);
      if (execId === '') throw new TsError('InvalidArgument', 'exec: no exec id');
      const stdio = { stdin, stdout, stderr, hasTerminal: terminal };
      container.addExec(execId, stdio, () => processSpec(request.spec));
      return {};
    },

    resizePty: async ({ id, execId, width, height }) => {
      this.#find(id).process(execId).resize({ columns: width, rows: height });
      return {};
    },

    closeIO: async ({ id, execId, stdin }) => {
      const process = this.#find(id).process(execId);
      if (stdin) process.closeStdin();
      return {};
    },

    update: async ({ id, resources }) => {
      const container = this.#find(id);
      if (resources === undefined) throw new TsError('InvalidArgument', 'update: no resources');
      await container.update(Buffer.from(resources.value).toString());
      return {};
    },

    wait: async ({ id, execId }) => {
      return exitFields(await this.#find(id).process(execId).exited);
    },

    stats: async ({ id }) => {
      return { stats: await encodeStats(this.#find(id).cgroup.statistics()) };
    },

    connect: async ({ id }) => {
      const entry = this.#containers.get(id);
      const taskPid = entry === undefined || entry instanceof Making ? 0 : entry.init.pid;
      return { shimPid: process.pid, taskPid };
    },

    shutdown: async () => {
      this.#leaveIfEmpty();
      return {};
    },
  };

  #find(id: string): Container {
    const entry = this.#containers.get(id);
    if (entry !== undefined && !(entry instanceof Making)) return entry;
    throw new TsError('NotFound', 'container not created', { fields: { id } });
  }

  /**
   * What is being made when it is to be deleted is given up. So a daemon gets rid of a task that
   * hangs: ttrpc has no word for a call that is no longer wanted.
   */
  async #endMaking(id: string): Promise<void> {
    const entry = this.#containers.get(id);
    if (!(entry instanceof Making)) return;
    entry.abandonment.now(new TsError('Aborted', `task ${id} is deleted`));
    await withinDeadline(ABANDON_MS, [entry.end.promise]);
  }
}

/**
 * A container that has ended is listed by its init process until it is deleted, as the kernel lists
 * a zombie. For containerd 2 takes a shim whose list is empty after a restart for a leaked one and
 * deletes it, and its exit code would be lost.
 */
async function livePids(container: Container): Promise<number[]> {
  if (container.init.isReaped) return [container.init.pid];
  return container.runtime.processes(container.id);
}

function stateOf(container: Container, process: TaskProcess): Init<StateResponse> {
  const { stdin, stdout, stderr, hasTerminal } = process.stdio;
  return {
    id: container.id,
    bundle: container.bundle,
    pid: process.pid,
    status: STATUS[process.state.status],
    stdin,
    stdout,
    stderr,
    terminal: hasTerminal,
    ...exitFields(process.exit),
    execId: process.execId,
  };
}

function deleteResponse(process: TaskProcess): Init<DeleteResponse> {
  return { pid: process.pid, ...exitFields(process.exit) };
}

function exitFields(exit: ProcessExit | undefined) {
  if (exit === undefined) return {};
  return { exitStatus: exit.status, exitedAt: timestampFromNs(exit.exitedAtNs) };
}

/** The OCI process object of an Exec; whether it is valid is for the runtime to say. */
function processSpec(spec: AnyMessage | undefined): object {
  let process: unknown;
  try {
    process = JSON.parse(Buffer.from(spec?.value ?? []).toString());
  } catch (cause) {
    const text = `exec: process spec: ${(cause as Error).message}`;
    throw new TsError('Unknown', text, { cause });
  }
  if (typeof process !== 'object' || process === null || Array.isArray(process)) {
    throw new TsError('Unknown', 'exec: process spec: not an object');
  }
  return process;
}
