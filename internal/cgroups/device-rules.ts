import { TsError } from '../errors/index.ts';
import type { DeviceRule } from '../oci/index.ts';

/** Access bits of the kernel's device controllers (linux/device_cgroup.h). */
export const DeviceAccess = { mknod: 1, read: 2, write: 4 } as const;

/** Access to devices as one table: a default and its exceptions, in which order does not matter. */
export interface DeviceTable {
  readonly allowsByDefault: boolean;
  readonly exceptions: readonly DeviceException[];
}

/** `undefined` numbers are any. */
export interface DeviceException {
  readonly type: 'b' | 'c';
  readonly major: number | undefined;
  readonly minor: number | undefined;
  /** Bits of {@link DeviceAccess}: what is not as by default. */
  readonly access: number;
}

const ALL_ACCESS = DeviceAccess.mknod | DeviceAccess.read | DeviceAccess.write;

/**
 * What every container may use whatever its configuration denies, as with runc: device nodes of all
 * kinds may be made, and the devices that the spec puts into each container may be used
 * (config-linux.md#default-devices).
 */
const DEFAULT_RULES: readonly DeviceRule[] = [
  { allow: true, type: 'c', access: 'm' },
  { allow: true, type: 'b', access: 'm' },
  { allow: true, type: 'c', major: 1, minor: 3, access: 'rwm' }, // null
  { allow: true, type: 'c', major: 1, minor: 8, access: 'rwm' }, // random
  { allow: true, type: 'c', major: 1, minor: 7, access: 'rwm' }, // full
  { allow: true, type: 'c', major: 5, minor: 0, access: 'rwm' }, // tty
  { allow: true, type: 'c', major: 1, minor: 5, access: 'rwm' }, // zero
  { allow: true, type: 'c', major: 1, minor: 9, access: 'rwm' }, // urandom
  { allow: true, type: 'c', major: 136, access: 'rwm' }, // /dev/pts/*
  { allow: true, type: 'c', major: 5, minor: 2, access: 'rwm' }, // ptmx
  { allow: true, type: 'c', major: 10, minor: 200, access: 'rwm' }, // net/tun, which programs of VPNs count on
];

/** The rules of a container: those of its configuration, then the defaults. */
export function containerDeviceRules(rules: readonly DeviceRule[] = []): DeviceRule[] {
  return [...rules, ...DEFAULT_RULES];
}

/**
 * Plays rules in order, starting from nothing allowed; the last rule that names a device decides.
 *
 * Throws InvalidArgument for a rule that takes back a part of what a wider one gave: no table of
 * exceptions can say it, and the kernel's v1 controller would accept the rule and not apply it.
 */
export function deviceTable(rules: readonly DeviceRule[]): DeviceTable {
  let allowsByDefault = false;
  const exceptions = new Map<string, DeviceException>();
  rules.forEach((rule, index) => {
    if (rule.type === undefined || rule.type === 'a') {
      allowsByDefault = rule.allow;
      exceptions.clear();
      return;
    }
    const named: DeviceException = {
      type: rule.type,
      major: numberOrAny(rule.major),
      minor: numberOrAny(rule.minor),
      access: accessBits(rule.access),
    };
    if (rule.allow === allowsByDefault) {
      takeBack(exceptions, named, `linux.resources.devices[${index}]`);
    } else {
      const key = deviceName(named);
      const access = named.access | (exceptions.get(key)?.access ?? 0);
      exceptions.set(key, { ...named, access });
    }
  });
  return { allowsByDefault, exceptions: [...exceptions.values()] };
}

/** Makes `named` as by default again. */
function takeBack(
  exceptions: Map<string, DeviceException>,
  named: DeviceException,
  property: string,
): void {
  for (const [key, other] of exceptions) {
    if (other.type !== named.type || (other.access & named.access) === 0) continue;
    if (covers(named.major, other.major) && covers(named.minor, other.minor)) {
      const access = other.access & ~named.access;
      if (access === 0) exceptions.delete(key);
      else exceptions.set(key, { ...other, access });
    } else if (meets(named.major, other.major) && meets(named.minor, other.minor)) {
      throw new TsError(
        'InvalidArgument',
        `${property}: "${deviceName(named)} ${accessText(named.access)}" would take back a part of ` +
          `"${key} ${accessText(other.access)}"`,
        {
          code: 'TS_CGROUP_DEVICE_RULE',
          advice: 'name only the devices that are meant instead of making exceptions of exceptions',
          fields: { property },
        },
      );
    }
  }
}

function covers(wide: number | undefined, narrow: number | undefined): boolean {
  return wide === undefined || wide === narrow;
}

function meets(one: number | undefined, other: number | undefined): boolean {
  return one === undefined || other === undefined || one === other;
}

/** As the v1 controller writes it: `c 1:3`, `b *:*`. */
function deviceName({ type, major, minor }: DeviceException): string {
  return `${type} ${major ?? '*'}:${minor ?? '*'}`;
}

function numberOrAny(value: number | undefined): number | undefined {
  return value === undefined || value < 0 ? undefined : value;
}

function accessBits(access: string | undefined): number {
  if (access === undefined) return ALL_ACCESS;
  let bits = 0;
  if (access.includes('r')) bits |= DeviceAccess.read;
  if (access.includes('w')) bits |= DeviceAccess.write;
  if (access.includes('m')) bits |= DeviceAccess.mknod;
  return bits;
}

function accessText(access: number): string {
  return (
    (access & DeviceAccess.read ? 'r' : '') +
    (access & DeviceAccess.write ? 'w' : '') +
    (access & DeviceAccess.mknod ? 'm' : '')
  );
}

/** What to write to the files of the v1 controller, in order, to get to the table from any other. */
export function deviceWrites(table: DeviceTable): { allow: boolean; value: string }[] {
  const writes = [{ allow: table.allowsByDefault, value: 'a' }];
  for (const exception of table.exceptions) {
    const value = `${deviceName(exception)} ${accessText(exception.access)}`;
    writes.push({ allow: !table.allowsByDefault, value });
  }
  return writes;
}
