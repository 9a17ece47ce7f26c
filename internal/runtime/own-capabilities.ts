import { readFileSync } from 'node:fs';
import { type Capability, ownStatusSet } from '../linux/index.ts';
import { capabilityNames } from './credential-steps.ts';

/** What can be given to a container, and how far the kernel's list goes. */
export interface AvailableCapabilities {
  readonly names: ReadonlySet<Capability>;
  readonly last: number;
}

let own: { readonly last: number; readonly bounding: bigint } | undefined;

/**
 * In a user namespace a process starts with every capability the kernel knows; else what the
 * bounding set of this process has can be given.
 */
export function availableCapabilities(options: {
  inUserNamespace: boolean;
}): AvailableCapabilities {
  own ??= readOwn(); // once: this process gives none of them up
  const { last, bounding } = own;
  const all = (1n << BigInt(last + 1)) - 1n;
  return { names: capabilityNames(options.inUserNamespace ? all : bounding & all), last };
}

function readOwn() {
  return {
    last: Number(readFileSync('/proc/sys/kernel/cap_last_cap', 'latin1')),
    bounding: ownStatusSet('CapBnd'),
  };
}
