import { randomBytes } from 'node:crypto';
import type { LeaseStore } from '../metadata/lease-store.ts';
import type { Scope } from '../metadata/scope.ts';

/** A lease that was not deleted, since the daemon was killed, ends by itself after this. */
const LIFETIME_MS = 24 * 3600 * 1000;

/**
 * Runs `body` under a lease of its own, unless the caller has one: what it makes is safe from the
 * garbage collector until a name refers to it. When `body` fails, what it made is collected before
 * the error is passed on, so that a failed pull or import leaves nothing behind.
 */
export async function withWorkLease<T>(
  leases: LeaseStore,
  scope: Scope,
  body: (scope: Scope) => Promise<T>,
): Promise<T> {
  if (scope.lease !== undefined) return await body(scope);
  const id = `${process.hrtime.bigint()}-${randomBytes(6).toString('base64url')}`;
  const expires = new Date(Date.now() + LIFETIME_MS).toISOString();
  const owner: Scope = { namespace: scope.namespace };
  leases.create(owner, id, new Map([['containerd.io/gc.expire', expires]]));
  let result: T;
  try {
    result = await body({ ...scope, lease: id });
  } catch (error) {
    await leases.delete(owner, id, true);
    throw error;
  }
  await leases.delete(owner, id, false);
  return result;
}
