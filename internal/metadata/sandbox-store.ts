import type { AnyMessage } from '../api/any.ts';
import type { Labels, Scope, TimeNs } from './scope.ts';

/** A sandbox (pod) as a client describes it; what runs for it is its controller's. */
export interface SandboxRecord {
  readonly id: string;
  readonly runtime: { readonly name: string; readonly options: AnyMessage | undefined };
  readonly spec: AnyMessage | undefined;
  readonly labels: Labels;
  readonly extensions: ReadonlyMap<string, AnyMessage>;
  /** Which controller runs it, or ''. */
  readonly sandboxer: string;
  readonly createdAt: TimeNs;
  readonly updatedAt: TimeNs;
}

export type NewSandbox = Omit<SandboxRecord, 'createdAt' | 'updatedAt'>;

/** Sandbox records of all namespaces. Missing records are NotFound, taken ids AlreadyExists. */
export interface SandboxStore {
  get(scope: Scope, id: string): SandboxRecord;
  /** Records that match any of the filters (containerd's filter language); all without filters. */
  list(scope: Scope, filters?: readonly string[]): SandboxRecord[];
  create(scope: Scope, sandbox: NewSandbox): SandboxRecord;
  /** Replaces the fields named by `fieldPaths` (`labels`, `labels.KEY`, `spec`, …); labels,
   * extensions and spec when there are none. */
  update(scope: Scope, sandbox: NewSandbox, fieldPaths: readonly string[]): SandboxRecord;
  delete(scope: Scope, id: string): void;
}
