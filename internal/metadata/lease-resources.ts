import { TsError } from '../errors/index.ts';
import type { Database } from './database.ts';
import type { Scope } from './scope.ts';

/**
 * Adds something to the scope's lease, if it has one; returns whether it has. To be called in the
 * transaction that makes the thing, so that no collection can come between. A lease that is not
 * there is NotFound.
 */
export function addToLease(database: Database, scope: Scope, type: string, id: string): boolean {
  if (scope.lease === undefined) return false;
  requireLease(database, scope, scope.lease);
  database.run(
    'INSERT OR IGNORE INTO lease_resources (namespace, lease, type, id) VALUES (?, ?, ?, ?)',
    scope.namespace,
    scope.lease,
    type,
    id,
  );
  return true;
}

/** Takes something out of the scope's lease. */
export function removeFromLease(database: Database, scope: Scope, type: string, id: string): void {
  if (scope.lease === undefined) return;
  database.run(
    'DELETE FROM lease_resources WHERE namespace = ? AND lease = ? AND type = ? AND id = ?',
    scope.namespace,
    scope.lease,
    type,
    id,
  );
}

export function requireLease(database: Database, scope: Scope, id: string): void {
  const sql = 'SELECT 1 FROM leases WHERE namespace = ? AND id = ?';
  if (database.get(sql, scope.namespace, id) === undefined) {
    throw new TsError('NotFound', `lease "${id}": not found`);
  }
}
