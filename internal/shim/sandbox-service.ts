/**
 * The sandbox API (containerd.runtime.sandbox.v1): the shim is the pod. containerd's own shim has it as
 * a pause container that the daemon makes like any other; here the shim keeps that container itself,
 * outside of the tasks, and its life is the sandbox's.
 *
 * The container is what config.json of the sandbox's bundle says. Without a process in it the sandbox
 * has no process either, and is only the bracket around its tasks.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AnyMessage } from '../api/any.ts';
import { Options } from '../api/generated/containerd.runc.v1.ts';
import type { CreateSandboxRequest } from '../api/generated/containerd.runtime.sandbox.v1.ts';
import { Sandbox as Service } from '../api/generated/containerd.runtime.sandbox.v1.ts';
import { CreateTaskRequest } from '../api/generated/containerd.task.v2.ts';
import type { Timestamp } from '../api/generated/google.protobuf.ts';
import { Options as GenericOptions } from '../api/generated/runtimeoptions.v1.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { nowNs, timestampFromNs } from '../api/time.ts';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { Abandonment } from './abandonment.ts';
import { readStartOptions } from './bundle-files.ts';
import type { Container, ShimContext } from './container.ts';
import { type CreateOptions, createContainer } from './create-container.ts';
import { Lock } from './lock.ts';
import { withinDeadline } from './process-io.ts';
import { mountRootfs, unmountRootfs } from './rootfs.ts';
import { encodeStats } from './stats.ts';
import type { TaskService } from './task-service.ts';

const SIGKILL = 9;
/** How long a process that was killed may take to be gone when the client says nothing about it. */
const STOP_MS = 10_000;
/** States as the daemon's sandbox store and CRI spell them. */
const READY = 'SANDBOX_READY';
const NOT_READY = 'SANDBOX_NOTREADY';
/** Architectures as Go and images name them. */
const ARCHITECTURES: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

export interface SandboxServiceOptions {
  readonly context: ShimContext;
  readonly tasks: TaskService;
  readonly isDebug: boolean;
}

/** Serves the sandbox of a shim; there is one at most. */
export function sandboxService({ context, tasks, isDebug }: SandboxServiceOptions) {
  let sandbox: Sandbox | 'creating' | undefined;
  const find = (id: string): Sandbox => {
    if (sandbox instanceof Sandbox && sandbox.id === id) return sandbox;
    throw new TsError('NotFound', `sandbox ${id}`);
  };

  const handlers: ServiceHandlers<typeof Service> = {
    createSandbox: async (request, call) => {
      const { sandboxId } = request;
      tasks.assertStays(`sandbox ${sandboxId}`);
      if (sandbox !== undefined) throw new TsError('AlreadyExists', `sandbox ${sandboxId}`);
      sandbox = 'creating';
      tasks.hold();
      try {
        // What happens to the container is told by the daemon, as events of a sandbox.
        const quiet = { ...context, events: { publish: () => {} } };
        using abandonment = new Abandonment(call.signal);
        const { signal } = abandonment;
        sandbox = await createSandbox(request, { context: quiet, isDebug, signal });
        return {};
      } catch (thrown) {
        sandbox = undefined;
        tasks.release();
        throw thrown;
      }
    },

    startSandbox: async ({ sandboxId }, call) => {
      const found = find(sandboxId);
      using abandonment = new Abandonment(call.signal);
      await found.start(abandonment.signal);
      return { pid: found.pid, createdAt: found.createdAt };
    },

    platform: async () => {
      return {
        platform: { os: 'linux', architecture: ARCHITECTURES[process.arch] ?? process.arch },
      };
    },

    stopSandbox: async ({ sandboxId, timeoutSecs }) => {
      await find(sandboxId).stop(timeoutSecs === 0 ? STOP_MS : timeoutSecs * 1000);
      return {};
    },

    waitSandbox: async ({ sandboxId }) => find(sandboxId).stopped,

    sandboxStatus: async ({ sandboxId, verbose }) => {
      const found = find(sandboxId);
      const { pid, state, createdAt, exit } = found;
      const exitedAt = exit?.exitedAt;
      const info = verbose ? [['info', JSON.stringify(await found.details())] as const] : [];
      return { sandboxId, pid, state, createdAt, exitedAt, info };
    },

    pingSandbox: async ({ sandboxId }) => {
      find(sandboxId);
      return {};
    },

    shutdownSandbox: async ({ sandboxId }) => {
      if (sandbox === 'creating')
        throw new TsError('FailedPrecondition', `sandbox ${sandboxId} is being created`);
      // After a create that failed the daemon shuts the shim down by this call, too.
      if (sandbox !== undefined) await find(sandboxId).delete();
      sandbox = undefined;
      tasks.release();
      tasks.leaveWhenEmpty();
      return {};
    },

    sandboxMetrics: async ({ sandboxId }) => {
      const data = await find(sandboxId).statistics();
      if (data === undefined) return {};
      return { metrics: { id: sandboxId, timestamp: timestampFromNs(nowNs()), data } };
    },
  };
  return { service: Service, handlers };
}

interface SandboxExit {
  readonly exitStatus: number;
  readonly exitedAt: Timestamp;
}

/** A sandbox from its creation to its shutdown. */
class Sandbox {
  readonly id: string;
  readonly createdAt = timestampFromNs(nowNs());
  readonly #bundle: string;
  readonly #netnsPath: string;
  /** None without a process in config.json. */
  readonly #container: Container | undefined;
  readonly #lock = new Lock();
  readonly #stopped = Promise.withResolvers<SandboxExit>();
  #isStarted = false;
  #isDeleted = false;
  #exit: SandboxExit | undefined;

  constructor(request: CreateSandboxRequest, container: Container | undefined) {
    this.id = request.sandboxId;
    this.#bundle = request.bundlePath;
    this.#netnsPath = request.netnsPath;
    this.#container = container;
    this.#stopped.promise.catch(() => {}); // whoever waits hears of it
    container?.init.exited.then(
      ({ status, exitedAtNs }) => this.#end(status, exitedAtNs),
      (error: unknown) => this.#stopped.reject(error),
    );
  }

  get pid(): number {
    return this.#container?.init.pid ?? 0;
  }

  get exit(): SandboxExit | undefined {
    return this.#exit;
  }

  get state(): string {
    return this.#isStarted && this.#exit === undefined ? READY : NOT_READY;
  }

  /** Resolves when the sandbox has ended. */
  get stopped(): Promise<SandboxExit> {
    return this.#stopped.promise;
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#lock.run(async () => {
      if (this.#isStarted || this.#exit !== undefined) {
        const state = this.#exit === undefined ? 'running' : 'stopped';
        throw new TsError('FailedPrecondition', `cannot start a ${state} sandbox`);
      }
      await this.#container?.start('', signal);
      this.#isStarted = true;
    });
  }

  /** Kills its process and waits for its end. Nothing for a sandbox that has ended. */
  async stop(timeoutMs: number): Promise<void> {
    if (this.#exit !== undefined) return;
    if (this.#container === undefined) {
      this.#end(0, nowNs());
      return;
    }
    try {
      await this.#container.kill('', SIGKILL, true);
    } catch (thrown) {
      if (TsError.from(thrown).kind !== 'NotFound') throw thrown; // it ends by itself just now
    }
    await withinDeadline(timeoutMs, [this.stopped]);
    if (this.exit === undefined) {
      throw new TsError(
        'DeadlineExceeded',
        `sandbox ${this.id}: not stopped within ${timeoutMs} ms`,
      );
    }
  }

  async delete(): Promise<void> {
    await this.#lock.run(async () => {
      if (this.#isDeleted) return;
      await this.stop(STOP_MS);
      if (this.#container === undefined) unmountRootfs(join(this.#bundle, 'rootfs'));
      else await this.#container.delete('');
      this.#isDeleted = true;
    });
  }

  async statistics(): Promise<AnyMessage | undefined> {
    if (this.#container === undefined) return undefined;
    return encodeStats(this.#container.cgroup.statistics());
  }

  /** What a person wants to know; keys as CRI's verbose status has them. */
  async details(): Promise<object> {
    const runtimeSpec = await readSpec(this.#bundle);
    return {
      pid: this.pid,
      processStatus: this.#container?.init.state.status ?? 'none',
      netNamespace: this.#netnsPath,
      bundle: this.#bundle,
      ...(runtimeSpec === undefined ? {} : { runtimeSpec }),
    };
  }

  #end(exitStatus: number, exitedAtNs: bigint): void {
    this.#exit = { exitStatus, exitedAt: timestampFromNs(exitedAtNs) };
    this.#stopped.resolve(this.#exit);
  }
}

async function createSandbox(
  request: CreateSandboxRequest,
  options: CreateOptions,
): Promise<Sandbox> {
  const { sandboxId: id, bundlePath: bundle, rootfs, netnsPath } = request;
  if (!bundle.startsWith('/')) {
    throw new TsError('InvalidArgument', `bundle ${JSON.stringify(bundle)}: not an absolute path`);
  }
  const spec = await readSpec(bundle);
  if (!hasProcess(spec)) {
    mountRootfs(join(bundle, 'rootfs'), rootfs);
    return new Sandbox(request, undefined);
  }
  if (netnsPath !== '') await joinNetwork(bundle, spec, netnsPath);
  const runtimeOptions = optionsOf(request.options) ?? readStartOptions(bundle);
  const task = CreateTaskRequest.create({ id, bundle, rootfs, options: runtimeOptions });
  return new Sandbox(request, await createContainer(task, options));
}

/** The daemon's own extension, such as CRI's PodSandboxConfig, is no option of the runtime. */
function optionsOf(any: AnyMessage | undefined): AnyMessage | undefined {
  const name = any?.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1);
  return name === Options.typeName || name === GenericOptions.typeName ? any : undefined;
}

interface SandboxSpec {
  readonly process?: { readonly args?: readonly unknown[] } | null;
  readonly linux?: { readonly namespaces?: readonly { readonly type?: unknown }[] } | null;
}

function hasProcess(spec: SandboxSpec | undefined): spec is SandboxSpec {
  return (spec?.process?.args?.length ?? 0) > 0;
}

/** Makes the sandbox's process live in the network namespace that the daemon has prepared. */
async function joinNetwork(bundle: string, spec: SandboxSpec, path: string): Promise<void> {
  const others = (spec.linux?.namespaces ?? []).filter(({ type }) => type !== 'network');
  const namespaces = [...others, { type: 'network', path }];
  const config = { ...spec, linux: { ...spec.linux, namespaces } };
  await writeFile(join(bundle, 'config.json'), JSON.stringify(config));
}

async function readSpec(bundle: string): Promise<SandboxSpec | undefined> {
  const path = join(bundle, 'config.json');
  try {
    const spec: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (typeof spec === 'object' && spec !== null) return spec;
    throw new TsError('InvalidArgument', `${path}: not an object`);
  } catch (thrown) {
    if (errnoNameOf(thrown) === 'ENOENT') return undefined;
    throw TsError.from(thrown, `read ${path}`);
  }
}
