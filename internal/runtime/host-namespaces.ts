/**
 * Attack: a configuration joins the host's own network, IPC or UTS namespace by its path and sets
 * sysctls or the hostname, which would be the host's. The check of config.json only sees a path.
 */
import { fstatSync, statSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { namespaceOfSysctl, type Spec } from '../oci/index.ts';
import type { JoinedNamespace } from './namespace-plan.ts';

/** What changes something in a namespace of its type, and the file of this process's namespace. */
const FILES = { network: 'net', ipc: 'ipc', uts: 'uts' } as const;

/** Throws InvalidArgument if a joined namespace is that of this process and would be changed. */
export function refuseHostNamespaces(
  spec: Spec,
  joined: readonly (JoinedNamespace & { readonly fd: number })[],
): void {
  for (const { type, path, fd } of joined) {
    if (type !== 'network' && type !== 'ipc' && type !== 'uts') continue;
    const property = changing(spec, type);
    if (property === undefined || !isOwn(fd, FILES[type])) continue;
    throw new TsError(
      'InvalidArgument',
      `config.json: ${property}: would change the host, whose ${type} namespace ${path} is`,
      { code: 'TS_HOST_NAMESPACE', fields: { property, path } },
    );
  }
}

function changing(spec: Spec, type: 'network' | 'ipc' | 'uts'): string | undefined {
  const key = Object.keys(spec.linux?.sysctl ?? {}).find(
    (each) => namespaceOfSysctl(each) === type,
  );
  if (key !== undefined) return `linux.sysctl[${JSON.stringify(key)}]`;
  const devices = Object.keys(spec.linux?.netDevices ?? {});
  if (type === 'network' && devices.length > 0) return 'linux.netDevices';
  if (type !== 'uts') return undefined;
  return (['hostname', 'domainname'] as const).find((name) => (spec[name] ?? '') !== '');
}

function isOwn(fd: number, name: string): boolean {
  const [theirs, own] = [fstatSync(fd), statSync(`/proc/self/ns/${name}`)];
  return theirs.ino === own.ino && theirs.dev === own.dev;
}
