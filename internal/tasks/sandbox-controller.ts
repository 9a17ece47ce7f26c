import type { AnyMessage } from '../api/any.ts';
import type { Metric, Mount, Platform } from '../api/generated/containerd.types.ts';
import type { Init } from '../api/init.ts';
import type { Scope, TimeNs } from '../metadata/scope.ts';
import type { ShimAddress } from './bootstrap-answer.ts';
import type { Exit } from './task-manager.ts';

/** What a sandbox is made from. */
export interface NewSandboxShim {
  readonly id: string;
  /** A runtime's name (`io.containerd.runc.v2`) or the absolute path of a shim. */
  readonly runtime: string;
  /** For `shim start`. */
  readonly runtimeOptions: AnyMessage | undefined;
  /** The OCI spec of its pause container as Any of JSON, if it has one. */
  readonly spec: AnyMessage | undefined;
  readonly rootfs: readonly Init<Mount>[];
  /** For the shim's own Create, which knows what they are. */
  readonly options: AnyMessage | undefined;
  /** A network namespace that it is put into, or ''. */
  readonly netnsPath: string;
  readonly annotations: ReadonlyMap<string, string>;
}

/** A sandbox that has been started. */
export interface SandboxInstance {
  readonly pid: number;
  readonly createdAt: TimeNs | undefined;
  readonly address: ShimAddress;
}

export interface SandboxStatus {
  readonly pid: number;
  /** `SANDBOX_READY` or `SANDBOX_NOTREADY`. */
  readonly state: string;
  readonly info: ReadonlyMap<string, string>;
  readonly createdAt: TimeNs | undefined;
  readonly exitedAt: TimeNs | undefined;
  readonly extra: AnyMessage | undefined;
  readonly address: ShimAddress;
}

/**
 * Sandboxes (pods) in shims that have the sandbox service. Every method of a sandbox that is not there
 * throws NotFound; other errors have the shim's kind and text.
 */
export interface SandboxController {
  /** Starts a shim and creates the sandbox in it; when that fails, nothing is left. Throws AlreadyExists. */
  create(scope: Scope, sandbox: NewSandboxShim): Promise<void>;
  /** A sandbox that does not start is gone afterwards. */
  start(scope: Scope, id: string): Promise<SandboxInstance>;
  platform(scope: Scope, id: string): Promise<Platform | undefined>;
  /** Stops the sandbox; one that has ended is stopped already. `timeoutSecs` 0 leaves it to the shim. */
  stop(scope: Scope, id: string, timeoutSecs: number): Promise<void>;
  wait(scope: Scope, id: string, signal?: AbortSignal): Promise<Exit>;
  status(scope: Scope, id: string, isVerbose: boolean): Promise<SandboxStatus>;
  metrics(scope: Scope, id: string): Promise<Metric | undefined>;
  /** Ends the sandbox and lets its shim go. */
  shutdown(scope: Scope, id: string): Promise<void>;
}
