import type { AnyMessage } from '../api/any.ts';
import type { Labels, Scope, TimeNs } from './scope.ts';

/** A container record: configuration, without a process. */
export interface ContainerRecord {
  readonly id: string;
  readonly labels: Labels;
  /** Name of the image it was made from, or ''. */
  readonly image: string;
  readonly runtime: { readonly name: string; readonly options: AnyMessage | undefined };
  /** The OCI runtime spec as Any of JSON. */
  readonly spec: AnyMessage | undefined;
  readonly snapshotter: string;
  readonly snapshotKey: string;
  readonly createdAt: TimeNs;
  readonly updatedAt: TimeNs;
  readonly extensions: ReadonlyMap<string, AnyMessage>;
  /** Sandbox (pod) it belongs to, or ''. */
  readonly sandbox: string;
}

export type NewContainer = Omit<ContainerRecord, 'createdAt' | 'updatedAt'>;

/** Container records of all namespaces. Missing records are NotFound, taken ids AlreadyExists. */
export interface ContainerStore {
  get(scope: Scope, id: string): ContainerRecord;
  /** Records that match any of the filters (containerd's filter language); all without filters. */
  list(scope: Scope, filters?: readonly string[]): ContainerRecord[];
  create(scope: Scope, container: NewContainer): ContainerRecord;
  /** Replaces the fields named by `fieldPaths` (`labels`, `labels.KEY`, `spec`, …); all mutable
   * ones when there are none. */
  update(scope: Scope, container: NewContainer, fieldPaths: readonly string[]): ContainerRecord;
  delete(scope: Scope, id: string): void;
}
