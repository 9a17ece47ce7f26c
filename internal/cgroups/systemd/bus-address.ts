/** Where D-Bus listens (D-Bus specification, Server Addresses), and who we are to it. */
import { TsError } from '../../errors/index.ts';

/** The systemd of the machine, or that of a user's session. */
export type BusKind = 'system' | 'user';

/** The usual address of the system bus (D-Bus specification, Well-known Message Bus Instances). */
const SYSTEM_BUS = 'unix:path=/run/dbus/system_bus_socket';

/** The address that the environment names, or the usual one. Throws FailedPrecondition for a user without a session. */
export function busAddress(
  kind: BusKind,
  env: Readonly<Record<string, string | undefined>>,
): string {
  if (kind === 'system') return env['DBUS_SYSTEM_BUS_ADDRESS'] || SYSTEM_BUS;
  const given = env['DBUS_SESSION_BUS_ADDRESS'];
  if (given !== undefined && given !== '') return given;
  const runtimeDirectory = env['XDG_RUNTIME_DIR'];
  if (runtimeDirectory !== undefined && runtimeDirectory !== '') {
    return `unix:path=${escapeValue(`${runtimeDirectory}/bus`)}`;
  }
  throw new TsError(
    'FailedPrecondition',
    "find the D-Bus of the user's systemd: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set",
    {
      code: 'TS_SYSTEMD_NO_BUS',
      advice:
        'log in by a way that opens a session (loginctl enable-linger USER keeps one), or leave out --systemd-cgroup',
    },
  );
}

/**
 * The socket of an address, as node:net takes it; an abstract one begins with a zero byte. Of several addresses the first
 * that is a unix socket. Throws InvalidArgument if there is none.
 */
export function busSocket(address: string): string {
  for (const one of address.split(';')) {
    const [, keys] = /^unix:(.*)$/.exec(one) ?? [];
    for (const pair of keys?.split(',') ?? []) {
      const equals = pair.indexOf('=');
      const value = unescapeValue(pair.slice(equals + 1));
      if (value === '') continue;
      if (pair.startsWith('path=')) return value;
      if (pair.startsWith('abstract=')) return `\0${value}`;
    }
  }
  throw new TsError(
    'InvalidArgument',
    `D-Bus address ${JSON.stringify(address)} has no unix socket`,
    {
      code: 'TS_SYSTEMD_NO_BUS',
    },
  );
}

function escapeValue(value: string): string {
  return value.replace(/[^A-Za-z0-9_/.*\\-]/g, (character) =>
    [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  );
}

function unescapeValue(value: string): string {
  const bytes = value.replace(/%([0-9A-Fa-f]{2})/g, (_, hex) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
  return Buffer.from(bytes, 'latin1').toString('utf8');
}

/**
 * The user id that the bus sees: ours outside of the user namespaces that `uidMap` (/proc/self/uid_map) leads out of. A
 * bus refuses who claims to be root because he is that inside of a user namespace of his own.
 */
export function outerUid(uid: number, uidMap: string): number {
  for (const line of uidMap.trim().split('\n')) {
    const [inside = 0, outside = 0, length = 0] = line.trim().split(/\s+/).map(Number);
    if (uid >= inside && uid < inside + length) return outside + (uid - inside);
  }
  return uid;
}
