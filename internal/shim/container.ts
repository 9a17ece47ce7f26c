/**
 * One container: its init process, the processes executed in it, and what happens to them.
 *
 * Order is the point here. A client must see create, start, exit and delete in this order although
 * the kernel may report the exit first; it must find all output written when it hears of an exit;
 * and an exec's exit comes before that of the init process.
 */
import { join } from 'node:path';
import {
  TaskDelete,
  TaskExecAdded,
  TaskExecStarted,
  TaskExit,
  TaskOOM,
  TaskPaused,
  TaskResumed,
  TaskStart,
} from '../api/generated/containerd.events.ts';
import type { Options } from '../api/generated/containerd.runc.v1.ts';
import { timestampFromNs } from '../api/time.ts';
import type { CgroupManager } from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import { kill, killTree } from '../linux/index.ts';
import { INIT_PID_FILE, markWithoutContainer } from './bundle-files.ts';
import type { ChildRegistry } from './command.ts';
import type { EventSink } from './event-publisher.ts';
import type { ExitLedger, ExitWatch, ProcessExit } from './exit-ledger.ts';
import type { ShimLog } from './log.ts';
import { openIo } from './open-io.ts';
import { NULL_IO, type StdioOwner, type StdioRequest, withinDeadline } from './process-io.ts';
import type { RuntimeClient } from './runtime-client.ts';
import { TaskProcess } from './task-process.ts';
import { withoutCode } from './without-code.ts';

const SIGKILL = 9;
/** How long an exit waits for a client to read what is left. */
const FLUSH_MS = 2_000;
/** How long after an exit a client's streams stay open for processes that have inherited them. */
const DETACH_MS = 2_000;
/** How long a deletion waits for a client that reads slowly, as in containerd's shim. */
const DELETE_FLUSH_MS = 10_000;
/** How long the exit of a container waits for those of its execs, which are dead or dying. */
const EXECS_MS = 5_000;

/** What all containers of a shim share. */
export interface ShimContext {
  readonly namespace: string;
  readonly children: ChildRegistry;
  readonly ledger: ExitLedger;
  readonly events: EventSink;
  readonly log: ShimLog;
}

export interface ContainerOptions {
  readonly id: string;
  readonly bundle: string;
  readonly options: Options;
  readonly runtime: RuntimeClient;
  readonly stdio: StdioRequest;
  /** Whether the kernel kills all others when the init process ends. */
  readonly hasOwnPidNamespace: boolean;
  /** The cgroup that a process is in. */
  readonly findCgroup: (pid: number) => CgroupManager;
  readonly unmountRootfs: () => Promise<void>;
}

/** Where CRIU's images of a container are. */
export interface RestoreSource {
  readonly imagePath: string;
  readonly workPath: string;
}

export class Container {
  readonly id: string;
  readonly bundle: string;
  readonly init: TaskProcess;
  readonly runtime: RuntimeClient;
  readonly #options: ContainerOptions;
  readonly #context: ShimContext;
  readonly #execs = new Map<string, TaskProcess>();
  #execCount = 0;
  #cgroup: CgroupManager | undefined;
  #oomWatch: Disposable | undefined;
  #oomKills = 0n;
  #restoreFrom: RestoreSource | undefined;

  constructor(options: ContainerOptions, context: ShimContext) {
    this.id = options.id;
    this.bundle = options.bundle;
    this.runtime = options.runtime;
    this.init = new TaskProcess('', options.stdio);
    this.#options = options;
    this.#context = context;
  }

  /** The processes that were executed and not yet deleted. */
  get execs(): Iterable<TaskProcess> {
    return this.#execs.values();
  }

  /** The container's cgroup. Throws FailedPrecondition before it is created. */
  get cgroup(): CgroupManager {
    if (this.#cgroup !== undefined) return this.#cgroup;
    throw new TsError('FailedPrecondition', `container ${this.id}: its cgroup is not known`);
  }

  /** The init process, or the exec with this id. */
  process(execId: string): TaskProcess {
    const found = execId === '' ? this.init : this.#execs.get(execId);
    if (found !== undefined) return found;
    throw new TsError('NotFound', `process does not exist ${execId}`, { fields: { id: this.id } });
  }

  /**
   * Makes the container; its process waits to be started. One to be restored is made when it is
   * started, for it runs at once. Leaves nothing behind when it throws.
   */
  async create(restoreFrom: RestoreSource | undefined, signal: AbortSignal): Promise<void> {
    try {
      await this.#openIo(this.init);
    } catch (thrown) {
      throw withoutCode('failed to create init process I/O', thrown);
    }
    this.#restoreFrom = restoreFrom;
    if (restoreFrom === undefined) await this.#make(undefined, signal);
  }

  async #make(restoreFrom: RestoreSource | undefined, signal: AbortSignal): Promise<void> {
    const { init } = this;
    const { options } = this.#options;
    using watch = this.#context.ledger.watch();
    try {
      init.pid = await this.runtime.create(this.id, {
        bundle: this.bundle,
        pidFile: join(this.bundle, INIT_PID_FILE),
        stdio: init.io.runtimeStdio,
        noPivotRoot: options.noPivotRoot,
        noNewKeyring: options.noNewKeyring,
        signal,
        ...(restoreFrom === undefined ? {} : { restoreFrom }),
      });
    } catch (thrown) {
      const error = TsError.from(thrown);
      // Killed in the middle, it has not cleaned up. After an error of its own it has, and the id
      // may be that of another container.
      if (error.fields['signal'] !== undefined) await this.#discard(error);
      else markWithoutContainer(this.bundle);
      await init.io.close();
      throw error;
    }
    try {
      this.#findCgroup();
      await init.io.attach();
    } catch (thrown) {
      const error = TsError.from(thrown);
      await this.#discard(error);
      await init.io.close();
      throw error;
    }
    this.#claim(watch, init);
  }

  /** `signal` is aborted when the request is given up: what can be undone is undone then. */
  async start(execId: string, signal: AbortSignal): Promise<number> {
    const process = this.process(execId);
    const starting = process.lock.run(async () => {
      process.state.assertCan('start');
      await (process === this.init ? this.#startInit(signal) : this.#startExec(process, signal));
    });
    process.starting = starting.catch(() => {}); // the caller hears of it
    await starting;
    return process.pid;
  }

  /** `spec` is asked for when everything else is in order. */
  addExec(execId: string, stdio: StdioRequest, spec: () => object): void {
    if (this.#execs.has(execId)) throw new TsError('AlreadyExists', `id ${execId}`);
    this.init.state.assertCan('exec');
    this.#execs.set(execId, new TaskProcess(execId, stdio, spec()));
    this.#context.events.publish('/tasks/exec-added', TaskExecAdded, {
      containerId: this.id,
      execId,
    });
  }

  /**
   * Sends a signal. Does not wait for what else is under way: what hangs must be killable. NotFound
   * once the process is dead. `all` of a container are all its processes; of an exec that is killed, also what it has
   * started, as far as it has not let go of it (other shims of this protocol take no notice of `all` there).
   */
  async kill(execId: string, signal: number, all: boolean): Promise<void> {
    const process = this.process(execId);
    if (process.pid === 0) throw new TsError('FailedPrecondition', 'process not created');
    if (process === this.init) {
      if (process.isReaped && !all) throw finished();
      await this.runtime.kill(this.id, signal, { all });
      return;
    }
    // Only this process reaps: until it has, the pid is the exec's.
    const send = all && signal === SIGKILL ? killTree : kill;
    if (process.isReaped || !send(process.pid, signal)) throw finished();
  }

  /** Removes a process that has ended or never ran; with the init process all of the container. */
  async delete(execId: string): Promise<TaskProcess> {
    const process = this.process(execId);
    await process.lock.run(async () => {
      await process.settle();
      process.state.assertCan('delete');
      if (process === this.init) await this.#deleteInit();
      else await this.#closeIo(process);
      process.markDeleted();
    });
    this.#execs.delete(execId);
    return process;
  }

  async pause(): Promise<void> {
    await this.#change('pause', async () => {
      await this.runtime.pause(this.id);
      if (this.init.state.status === 'running') this.init.state.become('paused');
      this.#context.events.publish('/tasks/paused', TaskPaused, { containerId: this.id });
    });
  }

  async resume(): Promise<void> {
    await this.#change('resume', async () => {
      await this.runtime.resume(this.id);
      if (this.init.state.status === 'paused') this.init.state.become('running');
      this.#context.events.publish('/tasks/resumed', TaskResumed, { containerId: this.id });
    });
  }

  async update(resources: string): Promise<void> {
    await this.#change('update', () => this.runtime.update(this.id, resources));
  }

  async checkpoint(options: Parameters<RuntimeClient['checkpoint']>[1]): Promise<void> {
    await this.#change('checkpoint', () => this.runtime.checkpoint(this.id, options));
  }

  async #discard(error: TsError): Promise<void> {
    try {
      await this.runtime.delete(this.id, { force: true });
      markWithoutContainer(this.bundle);
    } catch (failure) {
      error.cleanup.push(TsError.from(failure));
    }
  }

  async #change(
    operation: 'pause' | 'resume' | 'update' | 'checkpoint',
    change: () => Promise<void>,
  ): Promise<void> {
    await this.init.lock.run(async () => {
      this.init.state.assertCan(operation);
      await change();
    });
  }

  async #startInit(signal: AbortSignal): Promise<void> {
    const { init } = this;
    if (this.#restoreFrom === undefined) await this.runtime.start(this.id);
    else await this.#make(this.#restoreFrom, signal);
    init.state.become('running');
    this.#context.events.publish('/tasks/start', TaskStart, {
      containerId: this.id,
      pid: init.pid,
    });
  }

  async #startExec(process: TaskProcess, signal: AbortSignal): Promise<void> {
    if (this.init.isReaped) {
      const text = `container ${this.id} init process is not running`;
      throw new TsError('FailedPrecondition', text);
    }
    this.init.state.assertCan('exec');
    try {
      await this.#openIo(process);
    } catch (thrown) {
      throw withoutCode('failed to start io pipe copy', thrown);
    }
    using watch = this.#context.ledger.watch();
    try {
      process.pid = await this.runtime.exec(this.id, {
        bundle: this.bundle,
        pidFile: join(this.bundle, `exec-${++this.#execCount}.pid`),
        stdio: process.io.runtimeStdio,
        processSpec: process.spec,
        signal,
      });
    } catch (thrown) {
      await process.io.close();
      throw thrown;
    }
    try {
      await process.io.attach();
    } catch (thrown) {
      kill(process.pid, SIGKILL);
      process.pid = 0; // nobody claims its exit: the pid may soon be another's
      await process.io.close();
      throw thrown;
    }
    process.state.become('running');
    this.#context.events.publish('/tasks/exec-started', TaskExecStarted, {
      containerId: this.id,
      execId: process.execId,
      pid: process.pid,
    });
    this.#claim(watch, process);
  }

  async #deleteInit(): Promise<void> {
    const { init } = this;
    const neverRan = init.exit === undefined;
    try {
      await this.runtime.delete(this.id, { force: neverRan });
    } catch (thrown) {
      if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
    }
    markWithoutContainer(this.bundle);
    if (neverRan && init.pid !== 0) await withinDeadline(EXECS_MS, [init.exited]);
    for (const exec of this.#execs.values()) {
      await exec.io.close();
      if (exec.state.status === 'created') exec.markDeleted(); // who waits for it hears of it
    }
    await this.#closeIo(init);
    await this.#options.unmountRootfs();
    this.#oomWatch?.[Symbol.dispose]();
    this.#context.events.publish('/tasks/delete', TaskDelete, {
      containerId: this.id,
      pid: init.pid,
      exitStatus: init.exit?.status ?? 0,
      exitedAt: init.exit === undefined ? undefined : timestampFromNs(init.exit.exitedAtNs),
    });
  }

  async #closeIo(process: TaskProcess): Promise<void> {
    await process.io.flush(DELETE_FLUSH_MS);
    await process.io.close();
  }

  async #openIo(process: TaskProcess): Promise<void> {
    const { options } = this.#options;
    const owner: StdioOwner = {
      containerId: this.id,
      namespace: this.#context.namespace,
      uid: options.ioUid,
      gid: options.ioGid,
    };
    const fields = { container: this.id, exec: process.execId };
    process.io = await openIo(process.stdio, owner, this.#context.children, (stream, error) => {
      const { message, cause } = error;
      this.#context.log.warn('trouble with output', { ...fields, stream, error: message, cause });
    });
  }

  #claim(watch: ExitWatch, process: TaskProcess): void {
    watch.claim(process.pid, (exit) => {
      process.markReaped(exit);
      this.#finish(process, exit).catch((error: unknown) => {
        this.#context.log.error('exit not handled', { container: this.id, error });
      });
    });
  }

  async #finish(process: TaskProcess, exit: ProcessExit): Promise<void> {
    const isInit = process === this.init;
    await process.starting;
    try {
      if (isInit) await this.#finishOthers();
      await process.io.flush(FLUSH_MS);
      if (isInit) this.#tellOom();
    } catch (error) {
      // Whatever went wrong with its output: the exit itself must be told.
      this.#context.log.error('output may be incomplete', { container: this.id, error });
    }
    process.markExited(exit);
    this.#context.events.publish('/tasks/exit', TaskExit, {
      containerId: this.id,
      id: isInit ? this.id : process.execId,
      pid: exit.pid,
      exitStatus: exit.status,
      exitedAt: timestampFromNs(exit.exitedAtNs),
    });
    if (process.io !== NULL_IO) setTimeout(() => process.io.detach(), DETACH_MS).unref();
  }

  /** The init process is dead: so must be the rest, and their exits come first. */
  async #finishOthers(): Promise<void> {
    if (!this.#options.hasOwnPidNamespace) {
      await this.runtime.kill(this.id, SIGKILL, { all: true }).catch((error: unknown) => {
        this.#context.log.debug('kill all after exit', { container: this.id, error });
      });
    }
    const running = [...this.#execs.values()].filter(({ state }) => state.status === 'running');
    await withinDeadline(
      EXECS_MS,
      running.map(({ exited }) => exited),
    );
  }

  #findCgroup(): void {
    try {
      const cgroup = this.#options.findCgroup(this.init.pid);
      this.#cgroup = cgroup;
      this.#oomKills = cgroup.oomKills();
      this.#oomWatch = cgroup.watchOom(() => this.#tellOom());
    } catch (error) {
      // A container without a memory controller or that is dead already still has a life to follow.
      this.#context.log.warn('no out-of-memory events', { container: this.id, error });
    }
  }

  /** Tells of kills since the last time: also right before an exit, so that it is not unexplained. */
  #tellOom(): void {
    if (this.#cgroup === undefined) return;
    let kills: bigint;
    try {
      kills = this.#cgroup.oomKills();
    } catch (error) {
      this.#context.log.debug('read out-of-memory kills', { container: this.id, error });
      return;
    }
    if (kills <= this.#oomKills) return;
    this.#oomKills = kills;
    this.#context.events.publish('/tasks/oom', TaskOOM, { containerId: this.id });
  }
}

const finished = (): TsError => new TsError('NotFound', 'process already finished');
