import { existsSync, readFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import type { Process, Spec } from '../oci/index.ts';
import type { SecurityModules } from './exec-failure.ts';

/**
 * Refuses what would otherwise be ignored in silence: labels of a security module that this machine does not have. Throws
 * FailedPrecondition, or InvalidArgument for a container without a mount namespace.
 */
export function refuseUnsupported(spec: Spec): void {
  if (spec.process !== undefined) refuseMissingModules(spec.process, 'process.');
  if (spec.linux?.mountLabel !== undefined && spec.linux.mountLabel !== '' && !hasSelinux()) {
    throw missingModule('linux.mountLabel', 'SELinux');
  }
  if (!spec.linux?.namespaces?.some(({ type }) => type === 'mount')) {
    throw new TsError('InvalidArgument', 'config.json: linux.namespaces: has no mount namespace', {
      code: 'TS_SPEC_UNSUPPORTED',
      advice: 'add {"type": "mount"} to linux.namespaces',
      fields: { property: 'linux.namespaces' },
    });
  }
}

/** `prefix` is `process.`, or nothing for a process file of its own. */
export function refuseMissingModules(process: Process, prefix: string): void {
  const { apparmorProfile = '', selinuxLabel = '' } = process;
  if (apparmorProfile !== '' && !hasApparmor()) {
    throw missingModule(`${prefix}apparmorProfile`, 'AppArmor');
  }
  if (selinuxLabel !== '' && !hasSelinux()) throw missingModule(`${prefix}selinuxLabel`, 'SELinux');
}

function missingModule(property: string, module: string): TsError {
  return new TsError(
    'FailedPrecondition',
    `config.json: ${property}: is given, but ${module} is disabled or not supported`,
    { code: 'TS_SECURITY_MODULE_MISSING', fields: { property } },
  );
}

export function hasSelinux(): boolean {
  return existsSync('/sys/fs/selinux/enforce');
}

/** What may deny something to a process, SELinux unless it only tells what it would deny. */
export function denyingModules(): SecurityModules {
  return [
    ...(hasSelinux() && readFileSync('/sys/fs/selinux/enforce', 'latin1').startsWith('1')
      ? (['SELinux'] as const)
      : []),
    ...(hasApparmor() ? (['AppArmor'] as const) : []),
    ...(isConfined() ? (['AppArmor around tsrunc'] as const) : []),
  ];
}

/** Whether a profile of AppArmor is enforced on this process, whose label the container's has until it executes its program. */
function isConfined(): boolean {
  if (!hasApparmor()) return false;
  return readFileSync('/proc/self/attr/current', 'latin1').includes('(enforce)');
}

export function hasApparmor(): boolean {
  try {
    return readFileSync('/sys/module/apparmor/parameters/enabled', 'latin1').startsWith('Y');
  } catch {
    return false; // the kernel was built without it
  }
}
