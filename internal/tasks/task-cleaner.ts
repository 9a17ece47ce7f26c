import { packAny } from '../api/any.ts';
import { TaskDelete, TaskExit } from '../api/generated/containerd.events.ts';
import { nowNs, timestampFromNs } from '../api/time.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import { Signal } from '../linux/index.ts';
import type { Logger } from '../log/index.ts';
import type { Bundle } from './bundle.ts';
import { Semaphore } from './semaphore.ts';
import { removeDeadSocket } from './shim-client.ts';
import type { ShimLauncher } from './shim-launcher.ts';
import type { ShimTask } from './shim-task.ts';
import type { Exit } from './task-manager.ts';

/** How long a shim may take to take back a task that is not to be. */
const UNDO_TIMEOUT_MS = 5000;

/** Clean-ups that run at a time: each executes a shim, and many may be due after a restart. */
const CLEANUPS_AT_A_TIME = 4;

export interface TaskCleanerOptions {
  readonly launcher: ShimLauncher;
  readonly events: EventExchange;
  readonly log: Logger;
  /** How long a shim may take to say that it has no more tasks, and then to end. */
  readonly shutdownTimeoutMs: number;
  /** Whether another task lives in the same shim. */
  readonly isShared: (task: ShimTask) => boolean;
}

/** Removes tasks: in order, half made, or after the death of their shims. */
export class TaskCleaner {
  readonly #options: TaskCleanerOptions;
  readonly #turn = new Semaphore(CLEANUPS_AT_A_TIME);
  readonly #running = new Map<string, Promise<unknown>>();

  constructor(options: TaskCleanerOptions) {
    this.#options = options;
  }

  /** The clean-ups in the background by task; the id of such a task is not free yet. */
  get running(): ReadonlyMap<string, Promise<unknown>> {
    return this.#running;
  }

  /** After Delete: lets the shim end if this was its last task, and removes what is left. */
  async release(task: ShimTask): Promise<void> {
    const isShared = this.#options.isShared(task);
    try {
      const shim = await task.shim();
      await shim.shutdown(
        { id: task.id, now: false },
        { timeoutMs: this.#options.shutdownTimeoutMs },
      );
    } catch (thrown) {
      // A shim that ends at once closes the connection instead of an answer.
      this.#log(task.bundle).debug({ error: thrown }, 'shutdown of the shim');
    }
    await task.detach(isShared ? 0 : this.#options.shutdownTimeoutMs);
    await task.bundle.remove();
  }

  /** Takes a creation back that has come no matter how far, or ends a deletion. */
  async undo(bundle: Bundle, task: ShimTask | undefined): Promise<void> {
    const { launcher, isShared: isSharedTask } = this.#options;
    const { id } = bundle;
    const isShared = task !== undefined && isSharedTask(task);
    if (task !== undefined) {
      task.expectEnd();
      try {
        const shim = await task.shim();
        const options = { timeoutMs: UNDO_TIMEOUT_MS };
        const kill = shim.kill({ id, signal: Signal.SIGKILL, all: true }, options);
        await kill.catch(() => undefined); // it may never have come to be
        await shim.delete({ id }, options).catch(() => undefined); // or be gone already
        await shim.shutdown({ id, now: false }, options);
      } catch (thrown) {
        // The processes are looked for below; a shim that ends closes the connection first.
        this.#log(bundle).debug({ error: thrown }, 'shim of a task that is not to be');
      }
      await task.detach(isShared ? 0 : this.#options.shutdownTimeoutMs);
    }
    if (!isShared) await launcher.killProcesses(bundle);
    if ((await bundle.read('bootstrap.json')) !== undefined) await launcher.delete(bundle);
    if (task !== undefined && !isShared) await removeDeadSocket(task.address);
    await bundle.remove();
  }

  /**
   * Removes, in the background, what is left of a task, once it is known which others share its
   * shim: when `known` has resolved.
   */
  discard(bundle: Bundle, task: ShimTask | undefined, known: Promise<unknown>): void {
    this.#start(bundle, async () => {
      await known;
      await this.undo(bundle, task);
    });
  }

  /** After the death of a shim: kills what it left and publishes the end of its task. */
  afterDeath(task: ShimTask): Promise<Exit> {
    const { bundle } = task;
    const { launcher, isShared } = this.#options;
    const result = Promise.withResolvers<Exit>();
    this.#log(bundle).warn('shim has died');
    this.#start(bundle, async () => {
      try {
        const exit = await launcher.delete(bundle);
        const ended = { ...exit, at: exit.at ?? nowNs() };
        this.#publishEnd(bundle, ended);
        if (!isShared(task)) await removeDeadSocket(task.address);
        await bundle.remove();
        result.resolve(ended);
      } catch (thrown) {
        result.reject(thrown);
        throw thrown;
      }
    });
    return result.promise;
  }

  #publishEnd({ namespace, id }: Bundle, { pid, status, at }: Exit & { at: bigint }): void {
    const fields = { containerId: id, pid, exitStatus: status, exitedAt: timestampFromNs(at) };
    const { events } = this.#options;
    events.publish({ namespace }, '/tasks/exit', packAny(TaskExit, { ...fields, id }));
    events.publish({ namespace }, '/tasks/delete', packAny(TaskDelete, fields));
  }

  #start(bundle: Bundle, work: () => Promise<void>): void {
    const cleanup = this.#turn
      .run(work)
      .catch((error: unknown) => this.#log(bundle).error({ error }, 'clean up after task'))
      .finally(() => {
        if (this.#running.get(bundle.key) === cleanup) this.#running.delete(bundle.key);
      });
    this.#running.set(bundle.key, cleanup);
  }

  #log({ id, namespace }: Bundle): Logger {
    return this.#options.log.child({ task: id, namespace });
  }
}
