/**
 * Device rules as DevicePolicy and DeviceAllow (man 5 systemd.resource-control). systemd writes them again whenever it
 * likes, so it must know all that is allowed; on cgroup v2 our own filter is attached beside systemd's, and the kernel asks
 * both.
 */
import type { DeviceRule } from '../../oci/index.ts';
import { DeviceAccess, type DeviceException, deviceTable } from '../device-rules.ts';
import { text, type UnitProperty } from './unit-property.ts';

/** The rules in order, the last that names a device decides; what none names is denied. */
export function deviceProperties(rules: readonly DeviceRule[]): UnitProperty[] {
  const table = deviceTable(rules);
  // No list of what is denied can be told to systemd: whatever such rules deny, our own filter or files do.
  if (table.allowsByDefault) return [text('DevicePolicy', 'auto'), allowed([])];
  const entries = table.exceptions.map(
    (exception) => [deviceName(exception), accessText(exception.access)] as const,
  );
  return [text('DevicePolicy', 'strict'), allowed(entries)];
}

function allowed(value: readonly (readonly [string, string])[]): UnitProperty {
  return { name: 'DeviceAllow', type: 'a(ss)', value };
}

/** A node's number, or a driver by its major, or all of a kind. */
function deviceName({ type, major, minor }: DeviceException): string {
  const kind = type === 'c' ? 'char' : 'block';
  if (major === undefined) return `${kind}-*`;
  return minor === undefined ? `${kind}-${major}` : `/dev/${kind}/${major}:${minor}`;
}

function accessText(access: number): string {
  return (
    (access & DeviceAccess.read ? 'r' : '') +
    (access & DeviceAccess.write ? 'w' : '') +
    (access & DeviceAccess.mknod ? 'm' : '')
  );
}
