import { TsError } from '../errors/index.ts';
import {
  type Capability,
  Capability as CapabilityNumber,
  isCapability,
  type Sequence,
  steps,
} from '../linux/index.ts';
import type { Capabilities, Process } from '../oci/index.ts';

/** The five sets of one process, as the kernel knows them. */
export interface CapabilityPlan {
  readonly bounding: ReadonlySet<Capability>;
  readonly permitted: ReadonlySet<Capability>;
  readonly effective: ReadonlySet<Capability>;
  readonly inheritable: ReadonlySet<Capability>;
  readonly ambient: ReadonlySet<Capability>;
}

/**
 * Capabilities that this kernel does not have, or that the runtime itself does not hold, cannot be
 * given; they are left out, as with runc, which warns. So are ambient ones that are not permitted
 * and inheritable as well, which the kernel refuses (`runc spec` 1.1 asks for such).
 */
export function planCapabilities(
  capabilities: Capabilities | undefined,
  available: ReadonlySet<string>,
): CapabilityPlan {
  const set = (names: readonly string[] | undefined): Set<Capability> =>
    new Set((names ?? []).filter((name) => available.has(name)).filter(isCapability));
  const permitted = set(capabilities?.permitted);
  const inheritable = set(capabilities?.inheritable);
  return {
    bounding: set(capabilities?.bounding),
    permitted,
    effective: set(capabilities?.effective),
    inheritable,
    ambient: set(capabilities?.ambient).intersection(permitted).intersection(inheritable),
  };
}

/** Names of the bits of a CapBnd or CapPrm line of /proc/PID/status. */
export function capabilityNames(bits: bigint): Set<Capability> {
  const names = new Set<Capability>();
  for (const [name, number] of Object.entries(CapabilityNumber)) {
    if (((bits >> BigInt(number)) & 1n) === 1n) names.add(name as Capability);
  }
  return names;
}

/** Takes what is not in the plan out of the bounding set; `lastCapability` is the kernel's last. */
export function addBoundingSet(
  sequence: Sequence,
  plan: CapabilityPlan,
  lastCapability: number,
): void {
  const keep = new Set([...plan.bounding].map((name): number => CapabilityNumber[name]));
  for (let number = 0; number <= lastCapability; number++) {
    if (!keep.has(number)) sequence.add(steps.dropNumberFromBoundingSet(number));
  }
}

/**
 * Whether setgroups(2) is permitted: not in a user namespace that denies it (man 7 user_namespaces), as that of a user who
 * maps his own id alone; `unknown` in a namespace of somebody else's.
 */
export type MaySetGroups = 'yes' | 'no' | 'unknown';

function groupsDenied(): TsError {
  return new TsError(
    'FailedPrecondition',
    'process.user.additionalGids: cannot be set, since the user namespace denies setgroups',
    {
      code: 'TS_GROUPS_DENIED',
      advice: 'leave them out, or map a range of group ids (newgidmap of the package uidmap)',
      fields: { property: 'process.user.additionalGids' },
    },
  );
}

/**
 * Changes user and groups, then sets the capabilities: permitted ones survive the change of uid by
 * PR_SET_KEEPCAPS, which is taken back.
 */
export function addUser(
  sequence: Sequence,
  process: Process,
  plan: CapabilityPlan,
  { maySetGroups }: { maySetGroups: MaySetGroups },
): void {
  const { uid, gid, additionalGids = [] } = process.user;
  if (maySetGroups === 'no' && additionalGids.length > 0) throw groupsDenied();
  sequence.add(steps.keepCapabilities(true));
  if (maySetGroups !== 'no') {
    const mayBeDenied = maySetGroups === 'unknown' && additionalGids.length === 0;
    sequence.add(steps.setGroups(additionalGids), mayBeDenied ? { tolerate: 'EPERM' } : {});
  }
  sequence.add(steps.setGid(gid));
  sequence.add(steps.setUid(uid));
  sequence.add(steps.keepCapabilities(false));
  sequence.add(steps.setCapabilities(plan));
  sequence.add(steps.clearAmbientSet(), { tolerate: 'EINVAL' });
  for (const capability of plan.ambient) sequence.add(steps.raiseAmbient(capability));
}
