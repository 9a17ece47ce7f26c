import { randomBytes } from 'node:crypto';
import type { LeaseStore } from '../metadata/lease-store.ts';
import type { Scope } from '../metadata/scope.ts';

/** A lease that nobody gets to delete ends by itself after this. */
const LIFETIME_MS = 24 * 3600 * 1000;
/** Marks the leases of this file. The work dies with the daemon, and so must they. */
const WORK_LABEL = 'tscontainerd.io/work';

/**
 * Runs `body` under a lease of its own: what it makes is safe from the garbage collector until a
 * name refers to it. When `body` fails, what it made is collected before the error is passed on, so
 * that a failed pull or import leaves nothing behind, even when the client has a lease that it never
 * comes back to delete (containerd issue 3787: a lease belongs to the work, not to the connection).
 * When it succeeds, the caller's lease, if there is one, takes over what was made.
 */
export async function withWorkLease<T>(
  leases: LeaseStore,
  scope: Scope,
  body: (scope: Scope) => Promise<T>,
): Promise<T> {
  const id = `${process.hrtime.bigint()}-${randomBytes(6).toString('base64url')}`;
  const expires = new Date(Date.now() + LIFETIME_MS).toISOString();
  const owner: Scope = { namespace: scope.namespace };
  const labels = new Map([
    ['containerd.io/gc.expire', expires],
    [WORK_LABEL, 'transfer'],
  ]);
  leases.create(owner, id, labels);
  let result: T;
  try {
    result = await body({ ...scope, lease: id });
    if (scope.lease !== undefined) {
      for (const resource of leases.listResources(owner, id)) {
        leases.addResource(owner, scope.lease, resource);
      }
    }
  } catch (error) {
    await leases.delete(owner, id, true);
    throw error;
  }
  await leases.delete(owner, id, false);
  return result;
}

/** Deletes the leases of work that a killed daemon left. To be called before any work begins. */
export async function endAbandonedWork(
  leases: LeaseStore,
  namespaces: readonly string[],
): Promise<void> {
  for (const namespace of namespaces) {
    for (const { id } of leases.list({ namespace }, [`labels."${WORK_LABEL}"`])) {
      await leases.delete({ namespace }, id, false);
    }
  }
}
