import type { Capability } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import { isCapability } from '../linux/constants/capability.ts';
import { type Capabilities, DEFAULT_CAPABILITIES } from '../oci/index.ts';

/**
 * The five sets for what a container adds and drops. `ALL` adds or drops everything and comes before
 * single names, whatever the order. The inheritable set stays empty (CVE-2022-29162) unless ambient
 * ones are asked for, which the kernel wants inheritable. `available` are those that the daemon has.
 */
export function capabilitySets(
  request: Capability | undefined,
  options: { readonly isPrivileged: boolean; readonly available: readonly string[] },
): Capabilities {
  const {
    addCapabilities = [],
    dropCapabilities = [],
    addAmbientCapabilities = [],
  } = request ?? {};
  const adds = names('add_capabilities', addCapabilities);
  const drops = names('drop_capabilities', dropCapabilities);
  const set = new Set<string>(options.isPrivileged ? options.available : DEFAULT_CAPABILITIES);
  if (!options.isPrivileged) {
    if (adds.includes('ALL')) for (const name of options.available) set.add(name);
    if (drops.includes('ALL')) set.clear();
    for (const name of adds) if (name !== 'ALL') set.add(name);
    for (const name of drops) set.delete(name);
  }
  const all = [...set];
  const ambient = names('add_ambient_capabilities', addAmbientCapabilities);
  if (ambient.length === 0) return { bounding: all, effective: all, permitted: all };
  const whole = [...new Set([...all, ...ambient])];
  return { bounding: whole, effective: whole, permitted: whole, inheritable: ambient, ambient };
}

function names(field: string, given: readonly string[]): string[] {
  return given.map((name) => {
    const upper = name.toUpperCase();
    if (upper === 'ALL') return upper;
    const full = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
    if (isCapability(full)) return full;
    throw new TsError('InvalidArgument', `${field}: unknown capability ${JSON.stringify(name)}`);
  });
}
