import type {
  LinuxContainerResources,
  LinuxContainerSecurityContext,
  LinuxSandboxSecurityContext,
  PodSandboxConfig,
} from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import {
  DEFAULT_MASKED_PATHS,
  DEFAULT_READONLY_PATHS,
  type Mount,
  namespaceOfSysctl,
  OCI_VERSION,
  type Spec,
} from '../oci/index.ts';
import { Annotation, podAnnotations, runtimeAnnotations } from './annotations.ts';
import { readBaseSpec, withBaseSpec } from './base-spec.ts';
import { cgroupsPath } from './cgroup-parent.ts';
import type { CriConfig, RuntimeHandlerConfig } from './cri-config.ts';
import type { CriHost } from './cri-host.ts';
import type { Identity } from './image-user.ts';
import type { SelinuxLabels } from './selinux-labels.ts';
import { capabilitySets } from './spec-capabilities.ts';
import { NO_DEVICES } from './spec-devices.ts';
import { baseMounts } from './spec-mounts.ts';
import { hasUserNamespace, sandboxNamespaces, userMappings } from './spec-namespaces.ts';
import type { ImageProcess } from './spec-process.ts';
import { oomScoreAdj } from './spec-resources.ts';
import { apparmorProfile, seccompProfile } from './spec-security.ts';

/** The pause process is the last of a pod to be killed for memory (Kubernetes' number for it). */
const OOM_SCORE_ADJ = -998;
/** The least share of CPU time there is: it only sleeps. */
const CPU_SHARES = 2n;

/** What the spec of a pod's pause process is made from. */
export interface SandboxPlan {
  readonly id: string;
  readonly config: PodSandboxConfig;
  readonly runtimeName: string;
  readonly runtime: RuntimeHandlerConfig;
  readonly isSystemdCgroup: boolean;
  /** File of the network namespace; '' for the host's. */
  readonly networkNamespace: string;
  readonly hostname: string;
  readonly image: ImageProcess;
  readonly imageName: string;
  readonly identity: Identity;
  readonly resolvConf: string;
  readonly shm: string;
  readonly selinux: SelinuxLabels;
}

/** The OCI spec of a pod's pause process. */
export function sandboxSpec(plan: SandboxPlan, settings: CriConfig, host: CriHost): Spec {
  const { baseRuntimeSpec } = plan.runtime;
  const spec = requestedSpec(plan, settings, host);
  return baseRuntimeSpec === '' ? spec : withBaseSpec(readBaseSpec(baseRuntimeSpec), spec);
}

function requestedSpec(plan: SandboxPlan, settings: CriConfig, host: CriHost): Spec {
  const { config } = plan;
  const linux = config.linux;
  const security = linux?.securityContext;
  const options = security?.namespaceOptions;
  const isPrivileged = security?.privileged === true;
  const isHostNetwork = plan.networkNamespace === '';
  const seccomp = seccompProfile(
    {
      seccomp: security?.seccomp,
      seccompProfilePath: security?.seccompProfilePath ?? '',
      privileged: isPrivileged,
    },
    { unset: settings.unsetSeccompProfile, capabilities: [] },
  );
  const apparmor = settings.disablesApparmor
    ? undefined
    : apparmorProfile({ ...apparmorOf(security), privileged: isPrivileged }, host.hasApparmor);
  const parent = linux?.cgroupParent ?? '';
  const mappings = userMappings(options);
  return {
    ociVersion: OCI_VERSION,
    process: {
      user: plan.identity.user,
      args: [...plan.image.entrypoint, ...plan.image.cmd],
      env: [...plan.image.env],
      cwd: plan.image.workingDir || '/',
      capabilities: capabilitySets(undefined, {
        isPrivileged: false,
        available: host.capabilities,
      }),
      noNewPrivileges: true,
      oomScoreAdj: oomScoreAdj(
        OOM_SCORE_ADJ,
        settings.restrictsOomScoreAdj ? host.oomScoreAdj : undefined,
      ),
      ...(apparmor === undefined ? {} : { apparmorProfile: apparmor }),
      ...(plan.selinux.process === '' ? {} : { selinuxLabel: plan.selinux.process }),
    },
    root: { path: 'rootfs', readonly: true },
    ...(plan.hostname === '' || isHostNetwork ? {} : { hostname: plan.hostname }),
    mounts: [
      ...baseMounts({
        isSysWritable: false,
        isCgroupWritable: false,
        isHostNetwork,
        isUserNamespace: hasUserNamespace(options),
      }),
      bind('/dev/shm', plan.shm, ['rbind', 'rprivate', 'rw']),
      bind('/etc/resolv.conf', plan.resolvConf, ['rbind', 'rprivate', 'ro']),
    ],
    annotations: {
      ...runtimeAnnotations(plan.runtime, config.annotations),
      ...podAnnotations('sandbox', plan.id, config),
      [Annotation.sandboxLogDirectory]: config.logDirectory,
      [Annotation.sandboxImage]: plan.imageName,
      ...sizeAnnotations(linux?.resources),
    },
    linux: {
      namespaces: sandboxNamespaces(options, plan.networkNamespace),
      ...(mappings.uidMappings.length === 0 ? {} : mappings),
      cgroupsPath: cgroupsPath(parent, plan.id, {
        name: plan.runtimeName,
        isSystemd: plan.isSystemdCgroup,
      }),
      resources: { devices: [...NO_DEVICES.rules], cpu: { shares: CPU_SHARES } },
      sysctl: sandboxSysctls(config, settings, isHostNetwork),
      ...(seccomp === undefined ? {} : { seccomp }),
      ...(plan.selinux.mount === '' ? {} : { mountLabel: plan.selinux.mount }),
      maskedPaths: isPrivileged ? [] : DEFAULT_MASKED_PATHS,
      readonlyPaths: isPrivileged ? [] : DEFAULT_READONLY_PATHS,
    },
  };
}

function bind(destination: string, source: string, options: readonly string[]): Mount {
  return { destination, type: 'bind', source, options };
}

function apparmorOf(
  security: LinuxSandboxSecurityContext | undefined,
): Pick<LinuxContainerSecurityContext, 'apparmor' | 'apparmorProfile'> {
  return { apparmor: security?.apparmor, apparmorProfile: '' };
}

/** The pod's size, for runtimes that start a machine for it. */
function sizeAnnotations(resources: LinuxContainerResources | undefined): Record<string, string> {
  if (resources === undefined) return {};
  return {
    [Annotation.sandboxCpuPeriod]: String(resources.cpuPeriod),
    [Annotation.sandboxCpuQuota]: String(resources.cpuQuota),
    [Annotation.sandboxCpuShares]: String(resources.cpuShares),
    [Annotation.sandboxMemory]: String(resources.memoryLimitInBytes),
  };
}

/**
 * The pod's sysctls, and those that containers without privileges get so that they may listen on low ports
 * and ping. Throws InvalidArgument for one that would change the host.
 */
function sandboxSysctls(config: PodSandboxConfig, settings: CriConfig, isHostNetwork: boolean) {
  const options = config.linux?.securityContext?.namespaceOptions;
  const sysctls: Record<string, string> = {};
  if (!isHostNetwork) {
    if (settings.enablesUnprivilegedPorts) sysctls['net.ipv4.ip_unprivileged_port_start'] = '0';
    if (settings.enablesUnprivilegedIcmp && !hasUserNamespace(options)) {
      sysctls['net.ipv4.ping_group_range'] = '0 2147483647';
    }
  }
  const namespaces = new Set<string>(
    sandboxNamespaces(options, isHostNetwork ? '' : 'own').map(({ type }) => type),
  );
  for (const [name, value] of config.linux?.sysctls ?? []) {
    const key = name.replaceAll('/', '.');
    const needed = namespaceOfSysctl(key);
    if (needed === undefined || !namespaces.has(needed)) {
      const why =
        needed === undefined
          ? 'belongs to no namespace'
          : `the pod has the host's ${needed} namespace`;
      throw new TsError('InvalidArgument', `sysctl ${JSON.stringify(name)}: ${why}`);
    }
    if (value.includes('\0') || value.includes('\n')) {
      throw new TsError(
        'InvalidArgument',
        `sysctl ${JSON.stringify(name)}: line break in the value`,
      );
    }
    sysctls[key] = value;
  }
  return sysctls;
}
