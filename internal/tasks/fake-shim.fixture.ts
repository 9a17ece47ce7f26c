/**
 * A shim whose program is a shell script and whose service lives in the test's own process: what
 * the daemon does with a shim can be seen, and made to fail, at every step.
 */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { Code, TtrpcError, TtrpcServer } from '../../ttrpc/index.ts';
import type { AnyMessage } from '../api/any.ts';
import { DeleteResponse, Task } from '../api/generated/containerd.task.v3.ts';
import { Status } from '../api/generated/containerd.v1.types.ts';
import type { EventExchange } from '../events/event-exchange.ts';
import { LocalTaskManager } from './local-task-manager.ts';
import type { NewTask } from './task-manager.ts';

export const SCOPE = { namespace: 'test' };

/** The pid that fake tasks have; nobody sends it a signal. */
export const TASK_PID = 4242;

/** A daemon's task manager in private directories, and what it says to shims. */
export class FakeDaemon implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'tasks-'));
  readonly published: { topic: string; event: AnyMessage }[] = [];
  /** All that serve; they end with this. */
  readonly shims: FakeShim[] = [];
  manager: LocalTaskManager;

  constructor() {
    this.manager = this.restarted();
  }

  /** A new manager over the same directories, as after a restart. */
  restarted(): LocalTaskManager {
    const events = {
      publish: (_scope: unknown, topic: string, event: AnyMessage) => {
        this.published.push({ topic, event });
      },
    } as Partial<EventExchange> as EventExchange;
    this.manager = new LocalTaskManager({
      state: join(this.directory, 'state'),
      root: join(this.directory, 'root'),
      daemon: { grpc: '/grpc.sock', ttrpc: '/grpc.sock.ttrpc', program: '/bin/daemon' },
      events,
      log: pino({ level: process.env['TASKS_LOG'] ?? 'silent' }),
      isDebug: false,
    });
    return this.manager;
  }

  bundle(id: string): string {
    return join(this.directory, 'state/io.containerd.runtime.v2.task/test', id);
  }

  work(id: string): string {
    return join(this.directory, 'root/io.containerd.runtime.v2.task/test', id);
  }

  /** What is left of a task: paths that should not be there. */
  leftovers(id: string): string[] {
    return [this.bundle(id), this.work(id)].filter((path) => existsSync(path));
  }

  /** A program that is run for `start` and `delete`; $1 is the verb, the last argument. */
  program(name: string, script: string): string {
    const path = join(this.directory, name);
    const verb = 'for verb; do :; done\n';
    writeFileSync(path, `#!/bin/sh\n${verb}${script}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.manager.close();
    for (const shim of this.shims) shim.die();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

export interface FakeShimOptions {
  /** An error for Create instead of an answer. */
  readonly createError?: TtrpcError;
  /** An error for Delete instead of an answer. */
  readonly deleteError?: TtrpcError;
  /** What Kill waits for before it answers. */
  readonly onKill?: () => Promise<void>;
}

/** A shim that serves until it is told to die. */
export class FakeShim {
  readonly socket: string;
  readonly program: string;
  /** Method names in the order of the calls. */
  readonly calls: string[] = [];
  /** Tasks by id. */
  readonly tasks = new Map<string, { bundle: string; exit: PromiseWithResolvers<number> }>();
  readonly #sockets: Socket[] = [];
  readonly #server: TtrpcServer;

  private constructor(daemon: FakeDaemon, name: string, options: FakeShimOptions) {
    this.socket = join(daemon.directory, `${name}.sock`);
    const answer = JSON.stringify({ version: 3, address: `unix://${this.socket}` });
    writeFileSync(
      join(daemon.directory, `${name}.delete`),
      DeleteResponse.encode({ pid: TASK_PID, exitStatus: 137 }),
    );
    this.program = daemon.program(
      name,
      `echo "$@" >> ${daemon.directory}/${name}.arguments
       env > ${daemon.directory}/${name}.environment
       [ $verb = delete ] && exec cat ${daemon.directory}/${name}.delete
       cat > ${daemon.directory}/${name}.stdin
       echo '${answer}'`,
    );
    const authorize = (socket: Socket): void => void this.#sockets.push(socket);
    this.#server = new TtrpcServer({ authorize }).add(Task, this.#handlers(options));
  }

  static async start(
    daemon: FakeDaemon,
    name: string,
    options: FakeShimOptions = {},
  ): Promise<FakeShim> {
    const shim = new FakeShim(daemon, name, options);
    daemon.shims.push(shim);
    await shim.#server.listen(shim.socket);
    return shim;
  }

  /** Breaks all connections; new ones are accepted. */
  dropConnections(): void {
    for (const socket of this.#sockets.splice(0)) socket.destroy();
  }

  /** Ends as a killed shim does: the socket refuses connections from now on. */
  die(): void {
    this.#server.close();
  }

  #handlers(options: FakeShimOptions) {
    const find = (id: string) => {
      const task = this.tasks.get(id);
      if (task === undefined) throw new TtrpcError(Code.NOT_FOUND, `no task ${id}`);
      return task;
    };
    const exitedAt = { seconds: 1000n, nanos: 5 };
    return {
      create: async ({ id, bundle }: { id: string; bundle: string }) => {
        this.calls.push('create');
        if (options.createError !== undefined) throw options.createError;
        this.tasks.set(id, { bundle, exit: Promise.withResolvers() });
        return { pid: TASK_PID };
      },
      state: async ({ id }: { id: string }) => {
        find(id);
        return { id, pid: TASK_PID, status: Status.RUNNING };
      },
      kill: async ({ id, signal }: { id: string; signal: number }) => {
        this.calls.push('kill');
        await options.onKill?.();
        find(id).exit.resolve(128 + signal);
        return {};
      },
      wait: async ({ id }: { id: string }) => ({
        exitStatus: await find(id).exit.promise,
        exitedAt,
      }),
      delete: async ({ id }: { id: string }) => {
        this.calls.push('delete');
        if (options.deleteError !== undefined) throw options.deleteError;
        find(id);
        this.tasks.delete(id);
        return { pid: TASK_PID, exitStatus: 3, exitedAt };
      },
      shutdown: async () => {
        this.calls.push('shutdown');
        if (this.tasks.size === 0) setImmediate(() => this.die());
        return {};
      },
    };
  }
}

/** A task for a program. */
export function newTask(id: string, program: string, more: Partial<NewTask> = {}): NewTask {
  return {
    id,
    runtime: program,
    spec: { typeUrl: 'spec', value: Buffer.from('{"ociVersion":"1.2.0"}') },
    rootfs: [],
    io: { stdin: '', stdout: '/fifo', stderr: '', terminal: false },
    options: undefined,
    checkpoint: '',
    sandbox: '',
    ...more,
  };
}

/** Writes a bundle as an earlier daemon has left it. */
export function writeBundle(daemon: FakeDaemon, id: string, files: Record<string, string>): void {
  const path = daemon.bundle(id);
  mkdirSync(join(path, 'rootfs'), { recursive: true });
  mkdirSync(daemon.work(id), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
}

/** Text of a file, or undefined. */
export function textOf(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}
