import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { AnyMessage } from '../api/any.ts';
import type { RuntimeInfo } from '../api/generated/containerd.types.ts';
import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import type { Logger } from '../log/index.ts';
import { checkIdentifier } from '../metadata/identifiers.ts';
import type { Scope } from '../metadata/scope.ts';
import { checkedAddress, type ShimAddress } from './bootstrap-answer.ts';
import { Bundle, type BundleRoots, removeByRename, TASK_DIRECTORY } from './bundle.ts';
import { bundlesIn } from './bundle-directories.ts';
import { checkpointOf } from './checkpoint-directory.ts';
import type { DaemonAddresses } from './shim-call.ts';
import { within } from './shim-connection.ts';
import { ShimLauncher, type StartedShim } from './shim-launcher.ts';
import { ShimLogs } from './shim-logs.ts';
import { ShimTask, taskNotFound, UNKNOWN_EXIT_STATUS } from './shim-task.ts';
import { SHIM_TIMEOUTS, type ShimTimeouts } from './shim-timeouts.ts';
import type { SpareShims } from './spare-shim.ts';
import { TaskCleaner } from './task-cleaner.ts';
import type { Exit, NewTask, Task, TaskManager } from './task-manager.ts';

/** How long a daemon that ends waits for clean-ups; the next one does what is left. */
const CLOSE_TIMEOUT_MS = 5000;

/** How long a list waits for tasks whose shims have not answered yet after a restart. */
const LIST_TIMEOUT_MS = 2000;

export interface TaskManagerOptions {
  /** The daemon's state directory, on tmpfs. */
  readonly state: string;
  /** The daemon's root directory, on disk. */
  readonly root: string;
  readonly daemon: DaemonAddresses;
  readonly events: EventExchange;
  readonly log: Logger;
  /** Whether shims are told to log more. */
  readonly isDebug: boolean;
  /** Sandboxes whose shims take tasks, besides those whose first task is the sandbox. */
  readonly sandboxes?: SandboxShims;
  readonly timeouts?: ShimTimeouts;
  readonly spares?: SpareShims | undefined;
}

/** Where tasks look for the shim of their sandbox. */
export interface SandboxShims {
  /** The shim of a sandbox, once it is known; undefined when there is no such sandbox. */
  addressOf(namespace: string, id: string): Promise<ShimAddress | undefined>;
  /** Whether a sandbox lives in the shim at this address. */
  isServedAt(address: string): boolean;
}

/**
 * A task by its place: the promise is there from the moment on that its creation or its recovery
 * begins, and gives undefined when there is no task in the end.
 */
interface Entry {
  readonly task: Promise<ShimTask | undefined>;
  /** The task when the promise has been fulfilled. */
  current: ShimTask | undefined;
  /** What is being waited for, since when. */
  readonly what: string;
  readonly sinceMs: number;
}

/** Tasks in shims on this machine. */
export class LocalTaskManager implements TaskManager {
  readonly #options: TaskManagerOptions;
  readonly #roots: BundleRoots;
  readonly #timeouts: ShimTimeouts;
  readonly #launcher: ShimLauncher;
  readonly #entries = new Map<string, Entry>();
  readonly #cleaner: TaskCleaner;
  /** Tasks whose death is news. Of others, whoever creates or deletes them takes care. */
  readonly #established = new WeakSet<ShimTask>();

  constructor(options: TaskManagerOptions) {
    this.#options = options;
    this.#roots = {
      state: join(options.state, TASK_DIRECTORY),
      root: join(options.root, TASK_DIRECTORY),
    };
    this.#timeouts = options.timeouts ?? SHIM_TIMEOUTS;
    this.#launcher = new ShimLauncher(options);
    this.#cleaner = new TaskCleaner({
      launcher: this.#launcher,
      events: options.events,
      log: options.log,
      shutdownTimeoutMs: this.#timeouts.shutdownMs,
      isShared: (task) => this.#isShared(task),
    });
  }

  /**
   * Finds the tasks of an earlier daemon. It returns when all are known by name: their shims are
   * asked at the same time, and whoever needs a task waits for its shim alone.
   */
  async recover(): Promise<void> {
    for (const directory of [this.#roots.state, this.#roots.root]) {
      await mkdir(directory, { recursive: true, mode: 0o711 });
    }
    const found = await bundlesIn(this.#roots.state);
    for (const [namespace, id] of found) {
      const bundle = new Bundle(this.#roots, namespace, id);
      this.#enter(bundle, 'recover', () => this.#recoverTask(bundle));
    }
    await this.#removeWorkWithout(new Set(found.map((names) => names.join('/'))));
  }

  /** After a reboot the bundles are gone with their tmpfs, but not what the tasks had on disk. */
  async #removeWorkWithout(bundles: ReadonlySet<string>): Promise<void> {
    for (const [namespace, id] of await bundlesIn(this.#roots.root)) {
      if (bundles.has(`${namespace}/${id}`)) continue;
      const path = join(this.#roots.root, namespace, id);
      try {
        await removeByRename(path);
      } catch (thrown) {
        this.#options.log.warn({ error: thrown }, 'remove what an earlier task left on disk');
      }
    }
  }

  /** What is under way, a line each. */
  waits(): string[] {
    const now = performance.now();
    return [
      ...[...this.#entries]
        .filter(([, entry]) => entry.current === undefined)
        .map(
          ([key, { what, sinceMs }]) => `${what} task ${key} for ${Math.round(now - sinceMs)} ms`,
        ),
      ...[...this.#cleaner.running.keys()].map((key) => `clean up after task ${key}`),
    ];
  }

  /** Waits until every recovery and clean-up that has begun is over. */
  async settled(): Promise<void> {
    while (this.waits().length > 0) {
      await Promise.allSettled([
        ...[...this.#entries.values()].map(({ task }) => task),
        ...this.#cleaner.running.values(),
      ]);
    }
  }

  /** Lets go of all shims. Their tasks go on. */
  async close(): Promise<void> {
    await within(this.settled(), CLOSE_TIMEOUT_MS);
    await Promise.all([...this.#entries.values()].map(({ current }) => current?.detach()));
    this.#entries.clear();
  }

  expect(runtime: string, options: AnyMessage | undefined): void {
    this.#launcher.expect(runtime, options);
  }

  async create(scope: Scope, task: NewTask): Promise<number> {
    checkIdentifier('task id', task.id);
    const bundle = new Bundle(this.#roots, scope.namespace, task.id);
    const key = bundle.key;
    const binary = this.#launcher.findBinary(task.runtime);
    for (let before = this.#entries.get(key); before; before = this.#entries.get(key)) {
      if ((await before.task) !== undefined) {
        throw new TsError('AlreadyExists', `task ${task.id}: already exists`);
      }
    }
    let pid = 0;
    let failure: unknown;
    const entry = this.#enter(bundle, 'create', async () => {
      try {
        await this.#cleaner.running.get(key);
        const created = await this.#create(bundle, binary, task, scope.signal);
        pid = created.pid;
        return created.task;
      } catch (thrown) {
        failure = thrown;
        return undefined;
      }
    });
    if ((await entry.task) === undefined) throw failure;
    return pid;
  }

  async get(scope: Scope, id: string): Promise<Task> {
    return this.#get(scope, id);
  }

  /** The logs of a task that its shim writes itself. Throws NotFound as {@link get} does. */
  async logs(scope: Scope, id: string): Promise<ShimLogs> {
    return new ShimLogs((await this.#get(scope, id)).address, id);
  }

  async list(scope: Scope): Promise<Task[]> {
    const prefix = `${scope.namespace}/`;
    const entries = [...this.#entries].filter(([key]) => key.startsWith(prefix));
    const recovering = entries.filter(([, { what }]) => what === 'recover');
    await within(Promise.all(recovering.map(([, { task }]) => task)), LIST_TIMEOUT_MS);
    return entries
      .map(([, { current }]) => current)
      .filter((task) => task !== undefined && !task.isDead) as Task[];
  }

  async runtimeInfo(runtime: string, options: AnyMessage | undefined): Promise<RuntimeInfo> {
    return this.#launcher.info(this.#launcher.findBinary(runtime), options);
  }

  async delete(scope: Scope, id: string): Promise<Exit> {
    const task = await this.#get(scope, id);
    let exit: Exit | undefined;
    try {
      exit = await task.deleteExec('');
    } catch (thrown) {
      if (task.isLetGo) throw thrown; // another call has deleted it
      if (await this.#hasDied(task)) return task.wait('');
      // The shim does not know the task: what is left is the daemon's to remove.
      if (!(thrown instanceof TsError) || thrown.kind !== 'NotFound') throw thrown;
    }
    task.expectEnd();
    await task.bundle.setIntent('delete');
    await this.#cleaner.release(task);
    this.#forget(task);
    if (exit === undefined) throw taskNotFound(id);
    return exit;
  }

  /** Asks again when a call has failed: the shim may have died during it. */
  async #hasDied(task: ShimTask): Promise<boolean> {
    await task.shim().catch(() => undefined); // the question is only whether it is dead
    return task.isDead;
  }

  async #get(scope: Scope, id: string): Promise<ShimTask> {
    const entry = this.#entries.get(`${scope.namespace}/${id}`);
    const task = await entry?.task;
    if (task === undefined) throw taskNotFound(id);
    return task;
  }

  #enter(bundle: Bundle, what: string, make: () => Promise<ShimTask | undefined>): Entry {
    const key = bundle.key;
    const entry: Entry = {
      task: make().then((task) => {
        entry.current = task;
        if (task === undefined && this.#entries.get(key) === entry) this.#entries.delete(key);
        return task;
      }),
      current: undefined,
      what,
      sinceMs: performance.now(),
    };
    this.#entries.set(key, entry);
    return entry;
  }

  async #create(
    bundle: Bundle,
    binary: string,
    task: NewTask,
    signal: AbortSignal | undefined,
  ): Promise<{ task: ShimTask; pid: number }> {
    const address = await this.#sandboxAddress(bundle.namespace, task);
    // Its process loads what it needs while the bundle is made.
    using ahead = address === undefined ? this.#launcher.ahead(binary, task.options) : undefined;
    await bundle.create(task.spec);
    let shimTask: ShimTask | undefined;
    try {
      const checkpoint = await checkpointOf(bundle, task);
      const shim = await (address === undefined
        ? this.#launcher.start(bundle, binary, task.options, signal, ahead)
        : this.#launcher.join(bundle, binary, task.sandbox, address));
      shimTask = this.#taskIn(bundle, task.runtime, shim);
      const { pid } = await (await shimTask.shim()).create(
        {
          ...{ id: task.id, bundle: bundle.path, rootfs: task.rootfs, ...task.io },
          ...{ checkpoint, options: task.options },
        },
        signal === undefined ? {} : { signal },
      );
      await bundle.clearIntent();
      this.#established.add(shimTask);
      return { task: shimTask, pid };
    } catch (thrown) {
      const error = TsError.from(thrown);
      try {
        await this.#cleaner.undo(bundle, shimTask);
      } catch (cleanup) {
        error.cleanup.push(TsError.from(cleanup));
        this.#log(bundle).error({ error: cleanup }, 'clean up after a failed create');
      }
      throw error;
    }
  }

  /** The address that the client gave, or that of the sandbox's shim; undefined for a task that gets a shim of its own. */
  async #sandboxAddress(namespace: string, task: NewTask): Promise<ShimAddress | undefined> {
    if (task.shim !== undefined) return checkedAddress(task.shim);
    if (task.sandbox === '' || task.sandbox === task.id) return undefined;
    const first = await this.#entries.get(`${namespace}/${task.sandbox}`)?.task;
    return first?.address ?? this.#options.sandboxes?.addressOf(namespace, task.sandbox);
  }

  #taskIn(
    bundle: Bundle,
    runtime: string,
    shim: Pick<StartedShim, 'address'> & Partial<StartedShim>,
  ) {
    const { address, log } = shim;
    return new ShimTask({
      ...{ bundle, runtime, address, log, connectTimeoutMs: this.#timeouts.loadMs },
      onDead: (dead) => this.#onDead(dead),
    });
  }

  /** Whether another task, or a sandbox, lives in the same shim. */
  #isShared(task: ShimTask): boolean {
    const { address } = task.address;
    if (this.#options.sandboxes?.isServedAt(address)) return true;
    return [...this.#entries.values()].some(
      ({ current }) =>
        current !== undefined && current !== task && current.address.address === address,
    );
  }

  #forget(task: ShimTask): void {
    const key = task.bundle.key;
    if (this.#entries.get(key)?.current === task) this.#entries.delete(key);
  }

  /** Finds out about a task of an earlier daemon; undefined when there is none any more. */
  async #recoverTask(bundle: Bundle): Promise<ShimTask | undefined> {
    try {
      checkIdentifier('task id', bundle.id);
      const address = await bundle.address();
      const intent = await bundle.intent();
      if (address !== undefined && intent === undefined) return await this.#adopt(bundle, address);
      this.#log(bundle).warn({ intent }, 'task was on its way when the daemon ended');
      this.#discard(bundle, address && this.#taskIn(bundle, '', { address }));
    } catch (thrown) {
      // One bad bundle must not keep the daemon from the others; it stays for a person to look at.
      this.#log(bundle).error({ error: thrown }, 'recover task');
    }
    return undefined;
  }

  async #adopt(bundle: Bundle, address: ShimAddress): Promise<ShimTask | undefined> {
    const log = this.#log(bundle);
    const runtime = (await bundle.read('shim-binary-path')) ?? '';
    const shimLog = await this.#launcher.openLog(bundle);
    const task = this.#taskIn(bundle, runtime, { address, log: shimLog });
    this.#established.add(task);
    try {
      const { status, pid } = await task.state('', this.#timeouts.loadMs);
      log.info({ status, pid }, 'task found again');
    } catch (thrown) {
      if (task.isDead) return undefined; // its clean-up is under way
      const error = TsError.from(thrown);
      if (error.kind === 'NotFound') {
        log.warn('shim without its task');
        this.#discard(bundle, task);
        return undefined;
      }
      // A shim that lives keeps its task, however badly it answers.
      log.warn({ error }, 'shim does not answer as it should');
    }
    return task;
  }

  /** Removes what is left of a task, once it is known which others share its shim. */
  #discard(bundle: Bundle, task: ShimTask | undefined): void {
    const others = [...this.#entries.values()].map((entry) => entry.task);
    this.#cleaner.discard(bundle, task, Promise.all(others));
  }

  async #onDead(task: ShimTask): Promise<Exit> {
    if (!this.#established.has(task)) {
      return { pid: 0, status: UNKNOWN_EXIT_STATUS, at: nowNs() };
    }
    try {
      return await this.#cleaner.afterDeath(task);
    } finally {
      this.#forget(task);
    }
  }

  #log({ id, namespace }: Bundle): Logger {
    return this.#options.log.child({ task: id, namespace });
  }
}
