import { existsSync, readFileSync } from 'node:fs';
import {
  type LinuxContainerSecurityContext,
  SecurityProfile_ProfileType as ProfileType,
  type SecurityProfile,
} from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import { defaultSeccomp, parseSeccomp, type Seccomp } from '../oci/index.ts';

const LOCALHOST = 'localhost/';

/** A profile from the message, or from the string that older kubelets send. */
function profileOf(profile: SecurityProfile | undefined, text: string): SecurityProfile {
  if (profile !== undefined) return profile;
  switch (text) {
    case '':
    case 'unconfined':
      return { profileType: ProfileType.Unconfined, localhostRef: '' };
    case 'runtime/default':
    case 'docker/default':
      return { profileType: ProfileType.RuntimeDefault, localhostRef: '' };
    default:
      return { profileType: ProfileType.Localhost, localhostRef: text.replace(LOCALHOST, '') };
  }
}

/**
 * The seccomp filter of a container; undefined for none. A local profile is a file of the OCI's form
 * (config-linux.md#seccomp). `capabilities` widen the default one, as containerd does.
 */
export function seccompProfile(
  security: Pick<LinuxContainerSecurityContext, 'seccomp' | 'seccompProfilePath' | 'privileged'>,
  options: { readonly unset: string; readonly capabilities: readonly string[] },
): Seccomp | undefined {
  if (security.privileged) return undefined;
  const text = security.seccompProfilePath === '' ? options.unset : security.seccompProfilePath;
  const profile = profileOf(security.seccomp, text);
  switch (profile.profileType) {
    case ProfileType.RuntimeDefault:
      return defaultSeccomp(options.capabilities);
    case ProfileType.Localhost:
      return readProfile(profile.localhostRef);
    default:
      return undefined;
  }
}

function readProfile(reference: string): Seccomp {
  const path = reference.startsWith(LOCALHOST) ? reference.slice(LOCALHOST.length) : reference;
  if (!path.startsWith('/')) {
    throw new TsError(
      'InvalidArgument',
      `seccomp profile ${JSON.stringify(reference)}: not an absolute path`,
    );
  }
  let text: Buffer;
  try {
    text = readFileSync(path);
  } catch (thrown) {
    throw TsError.from(thrown, `seccomp profile ${path}`);
  }
  return parseSeccomp(text, `seccomp profile ${path}`);
}

/** The profile that the daemon would load for `runtime/default`; it must exist already (see apparmor_parser). */
export const DEFAULT_APPARMOR_PROFILE = 'cri-containerd.apparmor.d';

/** The AppArmor profile of a container; undefined for none. Throws when one is asked for that cannot be had. */
export function apparmorProfile(
  security: Pick<LinuxContainerSecurityContext, 'apparmor' | 'apparmorProfile' | 'privileged'>,
  isEnabled: boolean,
): string | undefined {
  const profile = profileOf(security.apparmor, security.apparmorProfile);
  const isLocal = profile.profileType === ProfileType.Localhost;
  if (!isEnabled) {
    if (!isLocal) return undefined;
    throw new TsError(
      'InvalidArgument',
      `AppArmor profile ${JSON.stringify(profile.localhostRef)}: AppArmor is not enabled on this machine`,
    );
  }
  if (security.privileged && security.apparmor === undefined && security.apparmorProfile === '')
    return undefined;
  if (profile.profileType === ProfileType.RuntimeDefault) return DEFAULT_APPARMOR_PROFILE;
  if (!isLocal) return undefined;
  const name = profile.localhostRef.replace(LOCALHOST, '');
  if (name === 'unconfined') return undefined;
  if (!loadedProfiles().includes(name)) {
    throw new TsError('InvalidArgument', `AppArmor profile ${JSON.stringify(name)}: not loaded`, {
      advice: 'load it with apparmor_parser',
    });
  }
  return name;
}

/** Whether the kernel has AppArmor and the tool to load profiles is there. */
export function hasApparmor(): boolean {
  const enabled = '/sys/module/apparmor/parameters/enabled';
  return (
    existsSync(enabled) &&
    readFileSync(enabled, 'utf8').startsWith('Y') &&
    existsSync('/sbin/apparmor_parser')
  );
}

function loadedProfiles(): string[] {
  try {
    const text = readFileSync('/sys/kernel/security/apparmor/profiles', 'utf8');
    return text.split('\n').map((line) => line.replace(/ \([a-z]+\)$/, ''));
  } catch (thrown) {
    throw TsError.from(thrown, 'list AppArmor profiles');
  }
}
