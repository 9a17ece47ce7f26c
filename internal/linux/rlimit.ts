import { ResourceLimit } from './constants/resource.ts';
import { syscall } from './syscall.ts';

/** Soft and hard limit; RLIM_INFINITY means none. */
export interface ResourceLimits {
  readonly soft: bigint;
  readonly hard: bigint;
}

/** A resource limit of a process (0: this one). */
export function getResourceLimit(pid: number, limit: ResourceLimit): ResourceLimits {
  const limits = Buffer.alloc(16);
  const operation = () => `get ${limit} of process ${pid}`;
  syscall(operation, 'prlimit64', pid, ResourceLimit[limit], null, limits);
  return { soft: limits.readBigUInt64LE(0), hard: limits.readBigUInt64LE(8) };
}

/** Sets a resource limit of a process (0: this one). EINVAL: the soft limit is above the hard one. */
export function setResourceLimit(pid: number, limit: ResourceLimit, value: ResourceLimits): void {
  const limits = Buffer.alloc(16);
  limits.writeBigUInt64LE(value.soft, 0);
  limits.writeBigUInt64LE(value.hard, 8);
  const operation = () => `set ${limit} of process ${pid}`;
  syscall(operation, 'prlimit64', pid, ResourceLimit[limit], limits, null);
}
