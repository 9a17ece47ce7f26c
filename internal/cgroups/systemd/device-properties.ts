/**
 * Device rules as DevicePolicy and DeviceAllow (man 5 systemd.resource-control). systemd writes them again whenever it
 * likes, so it must know all that is allowed; on cgroup v2 our own filter is attached beside systemd's, and the kernel asks
 * both.
 */
import type { DeviceRule } from '../../oci/index.ts';
import { DeviceAccess, type DeviceException, deviceTable } from '../device-rules.ts';
import { text, type UnitProperty } from './unit-property.ts';

/** `procDevices` is /proc/devices, which names the drivers that majors belong to. */
export function deviceProperties(
  rules: readonly DeviceRule[],
  procDevices: string,
): UnitProperty[] {
  const table = deviceTable(rules);
  // No list of what is denied can be told to systemd: whatever such rules deny, our own filter or files do.
  if (table.allowsByDefault) return [text('DevicePolicy', 'auto'), allowed([])];
  const entries = table.exceptions.flatMap((exception) => {
    const device = deviceName(exception, procDevices);
    return device === undefined ? [] : [[device, accessText(exception.access)] as const];
  });
  return [text('DevicePolicy', 'strict'), allowed(entries)];
}

function allowed(value: readonly (readonly [string, string])[]): UnitProperty {
  return { name: 'DeviceAllow', type: 'a(ss)', value };
}

/** Undefined: there is no driver with this major, and so no device. */
function deviceName(
  { type, major, minor }: DeviceException,
  procDevices: string,
): string | undefined {
  const kind = type === 'c' ? 'char' : 'block';
  if (major === undefined) return `${kind}-*`;
  if (minor !== undefined) return `/dev/${kind}/${major}:${minor}`;
  const driver = driverOf(kind, major, procDevices);
  return driver === undefined ? undefined : `${kind}-${driver}`;
}

/** Sections `Character devices:` and `Block devices:` with lines `136 pts`. */
function driverOf(kind: 'char' | 'block', major: number, procDevices: string): string | undefined {
  let isSection = false;
  for (const line of procDevices.split('\n')) {
    if (line.endsWith(':')) isSection = line.toLowerCase().startsWith(kind);
    const [number, name] = line.trim().split(/\s+/);
    if (isSection && number === String(major)) return name;
  }
  return undefined;
}

function accessText(access: number): string {
  return (
    (access & DeviceAccess.read ? 'r' : '') +
    (access & DeviceAccess.write ? 'w' : '') +
    (access & DeviceAccess.mknod ? 'm' : '')
  );
}
