/**
 * Sandboxes in shims. Each has a bundle as tasks have them, in a directory of its own, by which a daemon
 * finds it again after a restart. `intent` in it says that it was on its way when the daemon ended.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { nowNs, timestampToNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import { checkIdentifier } from '../metadata/identifiers.ts';
import type { Scope } from '../metadata/scope.ts';
import type { ShimAddress } from './bootstrap-answer.ts';
import { Bundle, type BundleRoots } from './bundle.ts';
import { bundlesIn } from './bundle-directories.ts';
import type {
  NewSandboxShim,
  SandboxController,
  SandboxInstance,
  SandboxStatus,
} from './sandbox-controller.ts';
import { removeDeadSocket } from './shim-client.ts';
import { ShimConnection } from './shim-connection.ts';
import { ShimLauncher, type ShimLauncherOptions, type StartedShim } from './shim-launcher.ts';
import { UNKNOWN_EXIT_STATUS } from './shim-task.ts';
import { SHIM_TIMEOUTS, type ShimTimeouts } from './shim-timeouts.ts';
import type { Exit } from './task-manager.ts';

/** Name of the directory of the sandboxes' bundles (containerd's plugin has it). */
const SANDBOX_DIRECTORY = 'io.containerd.sandbox.controller.v1.shim';

/** How long a shim may take to take a sandbox back that is not to be. */
const UNDO_TIMEOUT_MS = 5000;

export interface ShimSandboxesOptions extends ShimLauncherOptions {
  /** The daemon's state directory, on tmpfs. */
  readonly state: string;
  /** The daemon's root directory, on disk. */
  readonly root: string;
}

type Shim = Pick<StartedShim, 'address'> & { readonly log: StartedShim['log'] | undefined };

/** A sandbox in its shim. */
interface Sandbox {
  readonly bundle: Bundle;
  readonly connection: ShimConnection;
  /** Fulfilled when the shim has died and what it left is cleaned up. */
  readonly died: Promise<Exit>;
}

export class ShimSandboxes implements SandboxController {
  readonly #roots: BundleRoots;
  readonly #launcher: ShimLauncher;
  readonly #timeouts: ShimTimeouts;
  readonly #log: Logger;
  /** By namespace and id: there from the moment on that a creation begins, undefined until it is over. */
  readonly #sandboxes = new Map<string, Sandbox | 'creating'>();
  readonly #cleanups = new Set<Promise<void>>();

  constructor(options: ShimSandboxesOptions) {
    this.#roots = {
      state: join(options.state, SANDBOX_DIRECTORY),
      root: join(options.root, SANDBOX_DIRECTORY),
    };
    this.#launcher = new ShimLauncher(options);
    this.#timeouts = options.timeouts ?? SHIM_TIMEOUTS;
    this.#log = options.log;
  }

  /** Finds the sandboxes of an earlier daemon; their shims are connected to when they are needed. */
  async recover(): Promise<void> {
    for (const directory of [this.#roots.state, this.#roots.root]) {
      await mkdir(directory, { recursive: true, mode: 0o711 });
    }
    for (const [namespace, id] of await bundlesIn(this.#roots.state)) {
      const bundle = new Bundle(this.#roots, namespace, id);
      try {
        const address = await bundle.address();
        const isWhole = address !== undefined && (await bundle.intent()) === undefined;
        if (isWhole) await this.#adopt(bundle, address);
        else this.#clean(bundle, this.#undo(bundle, address));
      } catch (error) {
        // One bad bundle must not keep the daemon from the others; it stays for a person to look at.
        this.#logOf(bundle).error({ error }, 'recover sandbox');
      }
    }
  }

  /** Lets go of all shims. Their sandboxes go on. */
  async close(): Promise<void> {
    await Promise.all(this.#cleanups);
    for (const sandbox of this.#sandboxes.values()) {
      if (sandbox !== 'creating') await sandbox.connection.detach();
    }
    this.#sandboxes.clear();
  }

  /** The shim of a sandbox, where its tasks live as well; undefined when there is no such sandbox. */
  async addressOf(namespace: string, id: string): Promise<ShimAddress | undefined> {
    const sandbox = this.#sandboxes.get(`${namespace}/${id}`);
    return sandbox === undefined || sandbox === 'creating' ? undefined : sandbox.connection.address;
  }

  /** Whether a sandbox lives in the shim at this address. */
  isServedAt(address: string): boolean {
    return [...this.#sandboxes.values()].some(
      (sandbox) => sandbox !== 'creating' && sandbox.connection.address.address === address,
    );
  }

  async create(scope: Scope, sandbox: NewSandboxShim): Promise<void> {
    const { id } = sandbox;
    checkIdentifier('sandbox id', id);
    const bundle = new Bundle(this.#roots, scope.namespace, id);
    if (this.#sandboxes.has(bundle.key)) {
      throw new TsError('AlreadyExists', `sandbox ${id} already running: already exists`);
    }
    this.#sandboxes.set(bundle.key, 'creating');
    try {
      const binary = this.#launcher.findBinary(sandbox.runtime);
      await bundle.create(sandbox.spec);
      this.#sandboxes.set(bundle.key, await this.#create(bundle, binary, sandbox, scope.signal));
    } catch (thrown) {
      this.#sandboxes.delete(bundle.key);
      throw thrown;
    }
  }

  async #create(
    bundle: Bundle,
    binary: string,
    { runtimeOptions, rootfs, options, netnsPath, annotations }: NewSandboxShim,
    signal: AbortSignal | undefined,
  ): Promise<Sandbox> {
    let sandbox: Sandbox | undefined;
    try {
      const shim = await this.#launcher.start(bundle, binary, runtimeOptions, signal);
      sandbox = this.#sandboxIn(bundle, shim);
      const service = await sandbox.connection.sandboxes();
      const { id: sandboxId, path: bundlePath } = bundle;
      await service.createSandbox(
        { sandboxId, bundlePath, rootfs, options, netnsPath, annotations: [...annotations] },
        signal === undefined ? {} : { signal },
      );
      await bundle.clearIntent();
      return sandbox;
    } catch (thrown) {
      const error = TsError.from(thrown).within(`create sandbox ${bundle.id}`);
      await this.#undo(bundle, sandbox?.connection.address, sandbox).catch((cleanup: unknown) => {
        error.cleanup.push(TsError.from(cleanup));
        this.#logOf(bundle).error({ error: cleanup }, 'clean up after a failed create');
      });
      throw error;
    }
  }

  async start(scope: Scope, id: string): Promise<SandboxInstance> {
    const sandbox = this.#get(scope, id);
    try {
      const service = await sandbox.connection.sandboxes();
      const { pid, createdAt } = await service.startSandbox({ sandboxId: id });
      return { pid, createdAt: nsOf(createdAt), address: sandbox.connection.address };
    } catch (thrown) {
      throw TsError.from(thrown).within(`start sandbox ${id}`);
    }
  }

  async platform(scope: Scope, id: string) {
    const service = await this.#get(scope, id).connection.sandboxes();
    return (await service.platform({ sandboxId: id })).platform;
  }

  async stop(scope: Scope, id: string, timeoutSecs: number): Promise<void> {
    const { connection } = this.#get(scope, id);
    try {
      await (await connection.sandboxes()).stopSandbox({ sandboxId: id, timeoutSecs });
    } catch (thrown) {
      const error = TsError.from(thrown);
      if (error.kind === 'NotFound' || connection.isDead) return; // nothing runs any more
      throw error.within(`stop sandbox ${id}`);
    }
  }

  async wait(scope: Scope, id: string, signal?: AbortSignal): Promise<Exit> {
    const { connection, died } = this.#get(scope, id);
    for (;;) {
      const client = await connection.connectForWait(signal);
      if (client === undefined) return died;
      try {
        const options = signal === undefined ? {} : { signal };
        const { exitStatus, exitedAt } = await client.sandboxes.waitSandbox(
          { sandboxId: id },
          options,
        );
        return { pid: 0, status: exitStatus, at: nsOf(exitedAt) };
      } catch (thrown) {
        // An answer of the shim is final; a lost connection is not the end of the sandbox.
        if (!client.isClosed || connection.isDetached) throw thrown;
      }
    }
  }

  async status(scope: Scope, id: string, verbose: boolean): Promise<SandboxStatus> {
    const { connection } = this.#get(scope, id);
    const service = await connection.sandboxes();
    const status = await service.sandboxStatus({ sandboxId: id, verbose });
    const { pid, state, info, createdAt, exitedAt, extra } = status;
    const times = { createdAt: nsOf(createdAt), exitedAt: nsOf(exitedAt) };
    return { pid, state, info: new Map(info), ...times, extra, address: connection.address };
  }

  async metrics(scope: Scope, id: string) {
    const service = await this.#get(scope, id).connection.sandboxes();
    return (await service.sandboxMetrics({ sandboxId: id })).metrics;
  }

  async shutdown(scope: Scope, id: string): Promise<void> {
    const { bundle, connection } = this.#get(scope, id);
    connection.expectEnd();
    try {
      await (await connection.sandboxes()).shutdownSandbox({ sandboxId: id });
    } catch (thrown) {
      const error = TsError.from(thrown);
      if (error.kind !== 'NotFound' && error.kind !== 'Unavailable') throw error;
      // A shim that ends at once closes the connection instead of an answer; a dead one left its container.
      if (error.kind === 'Unavailable') await this.#launcher.delete(bundle);
    }
    await bundle.setIntent('delete');
    // The shim goes on while tasks live in it.
    await connection.detach(this.#timeouts.shutdownMs);
    this.#sandboxes.delete(bundle.key);
    await bundle.remove();
  }

  #get(scope: Scope, id: string): Sandbox {
    const sandbox = this.#sandboxes.get(`${scope.namespace}/${id}`);
    if (sandbox !== undefined && sandbox !== 'creating') return sandbox;
    throw new TsError('NotFound', `sandbox ${id}: not found`, { fields: { id } });
  }

  async #adopt(bundle: Bundle, address: ShimAddress): Promise<void> {
    const log = await this.#launcher.openLog(bundle);
    const sandbox = this.#sandboxIn(bundle, { address, log });
    this.#sandboxes.set(bundle.key, sandbox);
    // A shim that is dead is noticed by this; one that is slow keeps its sandbox.
    sandbox.connection.sandboxes().then(
      () => this.#logOf(bundle).info('sandbox found again'),
      (error: unknown) => this.#logOf(bundle).warn({ error }, 'shim of a sandbox'),
    );
  }

  #sandboxIn(bundle: Bundle, { address, log }: Shim): Sandbox {
    const death = Promise.withResolvers<Exit>();
    const onDead = (): void => {
      if (this.#sandboxes.get(bundle.key) === 'creating') return; // create fails and cleans up
      const cleanup = this.#afterDeath(bundle, address).then(death.resolve, death.reject);
      this.#clean(bundle, cleanup);
    };
    death.promise.catch(() => {}); // whoever waits hears of it; nobody has to wait
    const connectTimeoutMs = this.#timeouts.loadMs;
    const where = { id: bundle.id, address, log, connectTimeoutMs };
    const connection = new ShimConnection({ ...where, onDead });
    return { bundle, connection, died: death.promise };
  }

  /** Kills what a dead shim left and tells how its sandbox ended. */
  async #afterDeath(bundle: Bundle, address: ShimAddress): Promise<Exit> {
    this.#logOf(bundle).warn('shim of a sandbox has died');
    try {
      const exit = await this.#launcher.delete(bundle);
      await removeDeadSocket(address);
      await bundle.remove();
      const status = exit.status === 0 ? UNKNOWN_EXIT_STATUS : exit.status;
      return { pid: exit.pid, status, at: exit.at ?? nowNs() };
    } finally {
      this.#sandboxes.delete(bundle.key);
    }
  }

  /** Takes a creation back that has come no matter how far. */
  async #undo(
    bundle: Bundle,
    address: ShimAddress | undefined,
    sandbox = address && this.#sandboxIn(bundle, { address, log: undefined }),
  ): Promise<void> {
    if (sandbox !== undefined) {
      sandbox.connection.expectEnd();
      try {
        const service = await sandbox.connection.sandboxes();
        await service.shutdownSandbox({ sandboxId: bundle.id }, { timeoutMs: UNDO_TIMEOUT_MS });
      } catch (error) {
        // The processes are looked for below; a shim that ends closes the connection first.
        this.#logOf(bundle).debug({ error }, 'shim of a sandbox that is not to be');
      }
      await sandbox.connection.detach(this.#timeouts.shutdownMs);
    }
    await this.#launcher.killProcesses(bundle);
    if (address !== undefined) {
      await this.#launcher.delete(bundle);
      await removeDeadSocket(address);
    }
    await bundle.remove();
  }

  #clean(bundle: Bundle, work: Promise<void>): void {
    const cleanup = work
      .catch((error: unknown) => this.#logOf(bundle).error({ error }, 'clean up after sandbox'))
      .finally(() => this.#cleanups.delete(cleanup));
    this.#cleanups.add(cleanup);
  }

  #logOf({ id, namespace }: Bundle): Logger {
    return this.#log.child({ sandbox: id, namespace });
  }
}

function nsOf(timestamp: { seconds: bigint; nanos: number } | undefined): bigint | undefined {
  return timestamp === undefined ? undefined : timestampToNs(timestamp);
}
