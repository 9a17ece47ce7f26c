import { Capability, capabilityBits } from '../constants/capability.ts';
import { flags, named } from '../constants/flags.ts';
import { AmbientOperation, PrctlOption, SecureBit } from '../constants/process.ts';
import { Signal, type SignalName } from '../constants/signal.ts';
import { type Argument, Memory, Named } from '../program/argument.ts';
import type { Step } from '../program/step.ts';

/** prctl(2); unused arguments are 0, as many options demand. */
export function prctl(
  option: PrctlOption,
  label: string,
  a: Argument = 0,
  b: Argument = 0,
  c: Argument = 0,
  d: Argument = 0,
): Step {
  return { label, call: 'prctl', args: [named(PrctlOption, option), a, b, c, d] };
}

/** setresuid(2): real, effective and saved uid. */
export function setUid(uid: number): Step {
  return { label: `set uid ${uid}`, call: 'setresuid', args: [uid, uid, uid] };
}

/** setresgid(2). */
export function setGid(gid: number): Step {
  return { label: `set gid ${gid}`, call: 'setresgid', args: [gid, gid, gid] };
}

/** setgroups(2): replaces all supplementary groups. */
export function setGroups(gids: readonly number[]): Step {
  const list = new Memory(
    Math.max(4, gids.length * 4),
    () => `{${gids.join(', ')}}`,
    (view) => {
      gids.forEach((gid, position) => void view.setUint32(position * 4, gid, true));
    },
  );
  const args = [gids.length, gids.length === 0 ? null : list];
  return { label: 'set supplementary groups', call: 'setgroups', args };
}

/** What capset(2) sets. */
export interface CapabilitySets {
  effective: Iterable<Capability>;
  permitted: Iterable<Capability>;
  inheritable: Iterable<Capability>;
}

const LINUX_CAPABILITY_VERSION_3 = 0x20080522;

/** capset(2) of this process. */
export function setCapabilities(sets: CapabilitySets): Step {
  const bits = [sets.effective, sets.permitted, sets.inheritable].map(capabilityBits);
  const header = new Memory(
    8,
    () => '{_LINUX_CAPABILITY_VERSION_3}',
    (view) => {
      view.setUint32(0, LINUX_CAPABILITY_VERSION_3, true);
    },
  );
  // Two structs {effective, permitted, inheritable}: the lower 32 bits of each, then the upper.
  const text = () => {
    const [effective, permitted, inheritable] = bits.map((set) => `0x${set.toString(16)}`);
    return `{effective=${effective}, permitted=${permitted}, inheritable=${inheritable}}`;
  };
  const data = new Memory(24, text, (view) => {
    bits.forEach((set, position) => {
      view.setUint32(position * 4, Number(set & 0xffffffffn), true);
      view.setUint32(12 + position * 4, Number(set >> 32n), true);
    });
  });
  return { label: 'set capabilities', call: 'capset', args: [header, data] };
}

/** PR_CAPBSET_DROP. EINVAL: the kernel does not know the capability. */
export function dropFromBoundingSet(capability: Capability): Step {
  const label = `drop ${capability} from the bounding set`;
  return prctl('PR_CAPBSET_DROP', label, named(Capability, capability));
}

/** PR_CAPBSET_DROP of a capability by number, for those that this project has no name for. */
export function dropNumberFromBoundingSet(capability: number): Step {
  return prctl(
    'PR_CAPBSET_DROP',
    `drop capability ${capability} from the bounding set`,
    capability,
  );
}

/** PR_CAP_AMBIENT_CLEAR_ALL. */
export function clearAmbientSet(): Step {
  const operation = named(AmbientOperation, 'PR_CAP_AMBIENT_CLEAR_ALL');
  return prctl('PR_CAP_AMBIENT', 'clear the ambient capabilities', operation);
}

/** PR_CAP_AMBIENT_RAISE: needs the capability in the permitted and in the inheritable set. */
export function raiseAmbient(capability: Capability): Step {
  const operation = named(AmbientOperation, 'PR_CAP_AMBIENT_RAISE');
  const label = `raise ${capability} in the ambient set`;
  return prctl('PR_CAP_AMBIENT', label, operation, named(Capability, capability));
}

/** PR_SET_KEEPCAPS: whether permitted capabilities survive the change to a uid that is not 0. */
export function keepCapabilities(keep: boolean): Step {
  return prctl('PR_SET_KEEPCAPS', 'keep capabilities across setuid', keep ? 1 : 0);
}

/** PR_SET_SECUREBITS. Needs CAP_SETPCAP. */
export function setSecureBits(bits: readonly SecureBit[]): Step {
  return prctl('PR_SET_SECUREBITS', 'set securebits', flags(SecureBit, bits));
}

/** PR_SET_NO_NEW_PRIVS: execve gives no privileges any more; cannot be undone. */
export function setNoNewPrivileges(): Step {
  return prctl('PR_SET_NO_NEW_PRIVS', 'set no_new_privs', 1);
}

/** PR_SET_DUMPABLE: 0 keeps other processes of the same uid out of /proc/PID and ptrace. */
export function setDumpable(dumpable: boolean): Step {
  return prctl('PR_SET_DUMPABLE', 'set dumpable', dumpable ? 1 : 0);
}

/** PR_SET_PDEATHSIG: the signal this process gets when its parent thread ends; undefined: none. */
export function setParentDeathSignal(signal: SignalName | undefined): Step {
  const argument = signal === undefined ? 0 : new Named(Signal[signal], signal);
  return prctl('PR_SET_PDEATHSIG', 'set parent death signal', argument);
}
