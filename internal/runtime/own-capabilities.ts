import { readFileSync } from 'node:fs';
import type { Capability } from '../linux/index.ts';
import { capabilityNames } from './credential-steps.ts';

/** What this process may give to a container, and how far the kernel's list goes. */
export interface AvailableCapabilities {
  readonly names: ReadonlySet<Capability>;
  readonly last: number;
}

/**
 * In a new user namespace a process has every capability the kernel knows; else what the bounding
 * set of this process has.
 */
export function availableCapabilities({
  inNewUserNamespace,
}: {
  inNewUserNamespace: boolean;
}): AvailableCapabilities {
  const last = Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'latin1'));
  const all = (1n << BigInt(last + 1)) - 1n;
  if (inNewUserNamespace) return { names: capabilityNames(all), last };
  const status = readFileSync('/proc/self/status', 'latin1');
  const bounding = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? '0'}`);
  return { names: capabilityNames(bounding & all), last };
}
