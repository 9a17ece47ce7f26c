import { Leases } from '../api/generated/containerd.services.leases.v1.ts';
import type { CallOptions } from '../api/service.ts';
import type { Client } from './client.ts';
import { newLeaseId } from './commands/leases.ts';
import { rfc3339 } from './message-json.ts';

const DAY_NS = 24n * 3600n * 1_000_000_000n;

/**
 * Does work of several calls under a lease: what a call makes is not collected before the next one refers to it. The lease
 * ends with the work (with `sync` once the collector has been through), or by itself a day after this process was killed.
 */
export async function withLease<T>(
  client: Client,
  work: (options: CallOptions) => Promise<T>,
  { sync = false } = {},
): Promise<T> {
  const leases = client.service(Leases);
  const expires = rfc3339(
    ((BigInt(Date.now()) * 1_000_000n + DAY_NS) / 1_000_000_000n) * 1_000_000_000n,
  );
  const id = newLeaseId();
  await leases.create({ id, labels: [['containerd.io/gc.expire', expires]] });
  try {
    return await work({ metadata: [['containerd-lease', id]] });
  } finally {
    await leases.delete({ id, sync });
  }
}
