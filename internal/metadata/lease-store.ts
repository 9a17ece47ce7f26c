import type { Labels, Scope, TimeNs } from './scope.ts';

export interface Lease {
  readonly id: string;
  readonly createdAt: TimeNs;
  readonly labels: Labels;
}

/** What a lease keeps: type `content`, `ingests`, `snapshots/NAME` or `images`, and its id. */
export interface LeaseResource {
  readonly type: string;
  readonly id: string;
}

/** Leases keep what they refer to from the garbage collector until they are deleted or expire. */
export interface LeaseStore {
  create(scope: Scope, id: string, labels: Labels): Lease;
  /** With `synchronous` the collector has run when the promise resolves. */
  delete(scope: Scope, id: string, synchronous: boolean): Promise<void>;
  list(scope: Scope, filters?: readonly string[]): Lease[];
  addResource(scope: Scope, id: string, resource: LeaseResource): void;
  deleteResource(scope: Scope, id: string, resource: LeaseResource): void;
  listResources(scope: Scope, id: string): LeaseResource[];
}
