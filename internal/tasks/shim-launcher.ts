import { basename, join } from 'node:path';
import type { AnyMessage } from '../api/any.ts';
import { DeleteResponse } from '../api/generated/containerd.task.v3.ts';
import { RuntimeInfo } from '../api/generated/containerd.types.ts';
import { Any } from '../api/generated/google.protobuf.ts';
import { TsError } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import { parseBootstrapAnswer, type ShimAddress } from './bootstrap-answer.ts';
import type { Bundle } from './bundle.ts';
import { findShimBinary, OWN_SHIM } from './shim-binary.ts';
import {
  callShim,
  callShimInfo,
  type DaemonAddresses,
  type ShimCall,
  type ShimOutput,
  startOwnShim,
} from './shim-call.ts';
import { levelOfLine, ShimLog } from './shim-log.ts';
import { killShimProcesses } from './shim-processes.ts';
import { exitOf, UNKNOWN_EXIT_STATUS } from './shim-task.ts';
import { SHIM_TIMEOUTS, type ShimTimeouts } from './shim-timeouts.ts';
import type { SpareShims, TakenSpare } from './spare-shim.ts';
import type { Exit } from './task-manager.ts';

/** How long `start` may take: containerd leaves it to the caller, who may wait for ever. */
const START_TIMEOUT_MS = 60_000;

/** How long `-info` may take. */
const INFO_TIMEOUT_MS = 10_000;

export interface ShimLauncherOptions {
  readonly daemon: DaemonAddresses;
  readonly isDebug: boolean;
  readonly log: Logger;
  readonly timeouts?: ShimTimeouts;
  /** Shims of ours that are started before their tasks are there. */
  readonly spares?: SpareShims | undefined;
}

/** A shim that has been started. */
export interface StartedShim {
  readonly address: ShimAddress;
  readonly log: ShimLog;
}

/** Starts shims, and cleans up after dead ones, by executing their programs. */
export class ShimLauncher {
  readonly #options: ShimLauncherOptions;

  constructor(options: ShimLauncherOptions) {
    this.#options = options;
  }

  /** The program of a runtime. Throws InvalidArgument or NotFound. */
  findBinary(runtime: string): string {
    const { daemon, log } = this.#options;
    const path = process.env['PATH'] ?? '';
    const binary = findShimBinary(runtime, { path, daemon: daemon.program });
    log.debug({ runtime, binary }, 'shim found');
    return binary;
  }

  /** Sees to it that a shim of ours is being started for a task that is to come. */
  expect(runtime: string, options: AnyMessage | undefined): void {
    let binary: string;
    try {
      binary = this.findBinary(runtime);
    } catch {
      return; // whoever creates the task is told
    }
    if (basename(binary) === OWN_SHIM) this.#options.spares?.expect(binary, encoded(options));
  }

  /** A process of our shim for a task whose bundle is still to be made; undefined for other shims. */
  ahead(binary: string, options: AnyMessage | undefined): TakenSpare | undefined {
    if (basename(binary) !== OWN_SHIM) return undefined;
    return this.#options.spares?.take(binary, encoded(options));
  }

  /**
   * Executes `start`, or has the process that {@link ahead} gave answer for it, and notes in the bundle how the shim is
   * reached. On failure no process of the shim is left.
   */
  async start(
    bundle: Bundle,
    binary: string,
    options: AnyMessage | undefined,
    signal: AbortSignal | undefined,
    ahead?: TakenSpare,
  ): Promise<StartedShim> {
    await bundle.write('shim-binary-path', binary);
    const log = await this.openLog(bundle);
    try {
      const call = {
        ...this.#call(bundle, binary),
        stdin: encoded(options),
        timeoutMs: START_TIMEOUT_MS,
        signal,
      };
      const isOwn = basename(binary) === OWN_SHIM;
      const { stdout, stderr } = await (isOwn
        ? this.#startOwn(call, ahead)
        : callShim({ ...call, verb: 'start' }));
      if (stderr !== '') this.#warn(bundle, 'shim start', stderr);
      const address = parseBootstrapAnswer(stdout);
      await bundle.writeAddress(address);
      return { address, log };
    } catch (thrown) {
      log[Symbol.dispose]();
      const error = TsError.from(thrown).within(`start shim of ${bundle.id}`);
      await this.killProcesses(bundle).catch((cleanup: unknown) => {
        error.cleanup.push(TsError.from(cleanup));
      });
      throw error;
    }
  }

  /** Notes in the bundle that the task lives in a shim that is there, that of its sandbox. */
  async join(
    bundle: Bundle,
    binary: string,
    sandbox: string,
    address: ShimAddress,
  ): Promise<StartedShim> {
    await bundle.write('shim-binary-path', binary);
    await bundle.write('sandbox', sandbox);
    await bundle.writeAddress(address);
    return { address, log: await this.openLog(bundle) };
  }

  async #startOwn(
    call: Omit<ShimCall, 'verb'>,
    ahead: TakenSpare | undefined,
  ): Promise<ShimOutput> {
    return (await ahead?.answer(call)) ?? startOwnShim(call);
  }

  /** What a shim says about itself and its runtime. */
  async info(binary: string, options: AnyMessage | undefined): Promise<RuntimeInfo> {
    const { stdout } = await callShimInfo({
      binary,
      stdin: encoded(options),
      timeoutMs: INFO_TIMEOUT_MS,
    });
    try {
      return RuntimeInfo.decode(stdout);
    } catch (cause) {
      throw new TsError('Unknown', `${binary} -info: ${(cause as Error).message}`, { cause });
    }
  }

  /** Passes what a shim logs on to the daemon's log. */
  async openLog(bundle: Bundle): Promise<ShimLog> {
    const { log } = this.#options;
    const fields = { shim: bundle.id, namespace: bundle.namespace };
    return ShimLog.open(join(bundle.path, 'log'), (line) => {
      log[levelOfLine(line)](fields, `shim: ${line}`);
    });
  }

  /**
   * Executes `delete`, which kills the container and undoes what its shim did, and tells how the
   * task ended. A failure is logged and gives the exit status that stands for an unknown one.
   */
  async delete(bundle: Bundle): Promise<Exit> {
    try {
      const binary = await bundle.read('shim-binary-path');
      if (binary === undefined) throw new TsError('NotFound', 'bundle names no shim');
      const { stdout, stderr } = await callShim({
        ...this.#call(bundle, binary),
        verb: 'delete',
        stdin: new Uint8Array(0),
        timeoutMs: (this.#options.timeouts ?? SHIM_TIMEOUTS).cleanupMs,
      });
      if (stderr !== '') this.#warn(bundle, 'shim delete', stderr);
      return exitOf(DeleteResponse.decode(stdout));
    } catch (thrown) {
      this.#warn(bundle, 'shim delete', TsError.from(thrown).text);
      return { pid: 0, status: UNKNOWN_EXIT_STATUS, at: undefined };
    }
  }

  /** Kills the shim's processes that work in this bundle, with what they are executing. */
  async killProcesses(bundle: Bundle): Promise<void> {
    const killed = await killShimProcesses(bundle.path, bundle.id);
    if (killed > 0) this.#warn(bundle, 'shim', `killed ${killed} processes that were left`);
  }

  #call(bundle: Bundle, binary: string) {
    const { daemon, isDebug } = this.#options;
    const { namespace, id, path } = bundle;
    return { binary, namespace, id, bundle: path, daemon, isDebug };
  }

  #warn(bundle: Bundle, what: string, text: string): void {
    const { id, namespace } = bundle;
    this.#options.log.warn({ shim: id, namespace }, `${what}: ${text}`);
  }
}

/** Options of a runtime as bytes for the standard input of a shim. */
function encoded(options: AnyMessage | undefined): Uint8Array {
  return options === undefined ? new Uint8Array(0) : Any.encode(options);
}
