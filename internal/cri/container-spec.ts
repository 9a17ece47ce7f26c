import type { ContainerConfig, PodSandboxConfig } from '../api/generated/runtime.v1.ts';
import { SecurityProfile_ProfileType as ProfileType } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import {
  DEFAULT_MASKED_PATHS,
  DEFAULT_READONLY_PATHS,
  type Device,
  type LinuxResources,
  type Mount,
  OCI_VERSION,
  type Spec,
} from '../oci/index.ts';
import { Annotation, podAnnotations, runtimeAnnotations } from './annotations.ts';
import { readBaseSpec, withBaseSpec } from './base-spec.ts';
import { cdiEdits, requestedCdiDevices } from './cdi-devices.ts';
import { refuseCdi, withCdiEdits } from './cdi-edits.ts';
import { cgroupsPath } from './cgroup-parent.ts';
import type { CriConfig, RuntimeHandlerConfig } from './cri-config.ts';
import type { CriHost } from './cri-host.ts';
import type { Identity } from './image-user.ts';
import { checkResourceClasses } from './resource-classes.ts';
import type { SelinuxLabels } from './selinux-labels.ts';
import { capabilitySets } from './spec-capabilities.ts';
import { hostDevices, requestedDevices } from './spec-devices.ts';
import {
  baseMounts,
  type PodFiles,
  podFileMounts,
  requestedMounts,
  rootPropagation,
} from './spec-mounts.ts';
import {
  containerNamespaces,
  hasUserNamespace,
  type PodNamespaces,
  userMappings,
} from './spec-namespaces.ts';
import { type ImageProcess, processArgs, processEnv, workingDirectory } from './spec-process.ts';
import { linuxResources, oomScoreAdj } from './spec-resources.ts';
import { apparmorProfile, seccompProfile } from './spec-security.ts';

/** What the spec of a container is made from. */
export interface ContainerPlan {
  readonly id: string;
  readonly config: ContainerConfig;
  readonly sandboxId: string;
  readonly sandboxConfig: PodSandboxConfig;
  readonly runtimeName: string;
  readonly runtime: RuntimeHandlerConfig;
  readonly isSystemdCgroup: boolean;
  readonly namespaces: PodNamespaces;
  /** Pid of the container whose pid namespace is joined, with the mode TARGET. */
  readonly targetPid: number | undefined;
  readonly hostname: string;
  readonly podFiles: PodFiles;
  readonly image: ImageProcess;
  readonly imageName: string;
  readonly identity: Identity;
  /** Mounts for the volumes that the image declares, and that the container does not mount itself. */
  readonly imageVolumes: readonly Mount[];
  readonly selinux: SelinuxLabels;
}

/** The OCI spec of a container. Throws InvalidArgument that names the field of the request. */
export function containerSpec(plan: ContainerPlan, settings: CriConfig, host: CriHost): Spec {
  const { config, sandboxConfig } = plan;
  checkResourceClasses(
    config.metadata?.name ?? '',
    config.annotations,
    sandboxConfig.annotations,
    settings,
  );
  const { baseRuntimeSpec } = plan.runtime;
  const requested = requestedSpec(plan, settings, host);
  const spec =
    baseRuntimeSpec === '' ? requested : withBaseSpec(readBaseSpec(baseRuntimeSpec), requested);
  const names = requestedCdiDevices(plan.config);
  if (!settings.enablesCdi) refuseCdi(names);
  return withCdiEdits(spec, cdiEdits(names, settings.cdiSpecDirs));
}

function requestedSpec(plan: ContainerPlan, settings: CriConfig, host: CriHost): Spec {
  const { config, image } = plan;
  const security = config.linux?.securityContext;
  const isPrivileged = security?.privileged === true;
  const isReadonlyRoot = security?.readonlyRootfs === true;
  const isHostNetwork = plan.namespaces.network === '';
  const capabilities = capabilitySets(security?.capabilities, {
    isPrivileged,
    available: host.capabilities,
  });
  const seccomp = seccompProfile(
    {
      seccomp: security?.seccomp,
      seccompProfilePath: security?.seccompProfilePath ?? '',
      privileged: isPrivileged,
    },
    { unset: settings.unsetSeccompProfile, capabilities: capabilities.bounding ?? [] },
  );
  const apparmor = settings.disablesApparmor
    ? undefined
    : apparmorProfile(
        {
          apparmor: security?.apparmor ?? runtimeDefault(host),
          apparmorProfile: security?.apparmorProfile ?? '',
          privileged: isPrivileged,
        },
        host.hasApparmor,
      );
  const hasHostDevices = isPrivileged && !plan.runtime.privilegedWithoutHostDevices;
  const devices = hasHostDevices
    ? hostDevices()
    : requestedDevices(config.devices, isPrivileged && plan.runtime.privilegedAllowsAllDevices);
  const owner = settings.ownsDevicesByUser ? ownerOf(security) : {};
  const mappings = userMappings(plan.namespaces.options);
  const score = config.linux?.resources?.oomScoreAdj ?? 0n;
  return {
    ociVersion: OCI_VERSION,
    process: {
      terminal: config.tty,
      user: plan.identity.user,
      args: processArgs(config, image),
      env: processEnv(config, image.env, plan.hostname),
      cwd: workingDirectory(config, image),
      capabilities,
      noNewPrivileges: security?.noNewPrivs === true,
      oomScoreAdj: oomScoreAdj(
        Number(score),
        settings.restrictsOomScoreAdj ? host.oomScoreAdj : undefined,
      ),
      ...(apparmor === undefined ? {} : { apparmorProfile: apparmor }),
      ...(plan.selinux.process === '' ? {} : { selinuxLabel: plan.selinux.process }),
    },
    root: { path: 'rootfs', readonly: isReadonlyRoot },
    mounts: withoutHidden([
      ...baseMounts({
        isSysWritable: isPrivileged,
        isCgroupWritable:
          isPrivileged || (plan.runtime.isCgroupWritable && host.cgroupVersion === 2),
        isHostNetwork,
        isUserNamespace: hasUserNamespace(plan.namespaces.options),
      }),
      ...podFileMounts(plan.podFiles, config.mounts, isReadonlyRoot),
      ...plan.imageVolumes,
      ...requestedMounts(config.mounts),
    ]),
    annotations: {
      ...runtimeAnnotations(plan.runtime, plan.sandboxConfig.annotations, config.annotations),
      ...podAnnotations('container', plan.sandboxId, plan.sandboxConfig),
      [Annotation.containerName]: config.metadata?.name ?? '',
      [Annotation.imageName]: plan.imageName,
    },
    linux: {
      namespaces: containerNamespaces(plan.namespaces, security?.namespaceOptions, {
        targetPid: plan.targetPid,
        hasCgroupNamespace: host.cgroupVersion === 2 && !isPrivileged,
      }),
      ...(mappings.uidMappings.length === 0 ? {} : mappings),
      devices: devices.devices.map((device) => ({ ...device, ...owner })),
      cgroupsPath: cgroupsPath(plan.sandboxConfig.linux?.cgroupParent ?? '', plan.id, {
        name: plan.runtimeName,
        isSystemd: plan.isSystemdCgroup,
      }),
      resources: { ...resourcesOf(config, settings, host), devices: [...devices.rules] },
      rootfsPropagation: rootPropagation(config.mounts),
      ...(seccomp === undefined ? {} : { seccomp }),
      ...(plan.selinux.mount === '' ? {} : { mountLabel: plan.selinux.mount }),
      ...pathsOf(settings.disablesProcMount ? undefined : security, isPrivileged),
    },
  };
}

/** The ids that the request names; what it does not name stays the host's. */
function ownerOf(
  security: NonNullable<ContainerConfig['linux']>['securityContext'],
): Pick<Device, 'uid' | 'gid'> {
  const { runAsUser: user, runAsGroup: group } = security ?? {};
  return {
    ...(user === undefined ? {} : { uid: Number(user.value) }),
    ...(group === undefined ? {} : { gid: Number(group.value) }),
  };
}

/** Where AppArmor is on, a container that says nothing gets the default profile. */
function runtimeDefault(host: CriHost) {
  return host.hasApparmor
    ? { profileType: ProfileType.RuntimeDefault, localhostRef: '' }
    : undefined;
}

function resourcesOf(config: ContainerConfig, settings: CriConfig, host: CriHost): LinuxResources {
  const resources = config.linux?.resources;
  if (resources === undefined || settings.disablesCgroup) return {};
  if (settings.disablesHugetlbController) {
    return linuxResources({ ...resources, hugepageLimits: [] }, host);
  }
  const { hugepageLimits } = resources;
  if (
    hugepageLimits.length > 0 &&
    !host.hasHugetlbController &&
    !settings.toleratesMissingHugetlbController
  ) {
    throw new TsError(
      'FailedPrecondition',
      'hugepage_limits: this machine has no hugetlb controller',
      { advice: 'set tolerate_missing_hugetlb_controller = true to run without such limits' },
    );
  }
  return linuxResources(resources, host);
}

/**
 * Masked and read-only paths. An empty list in the request means the defaults: on the wire it cannot be told from none;
 * a kubelet sends no list only for `procMount: Unmasked`, in a user namespace.
 */
function pathsOf(
  security: NonNullable<ContainerConfig['linux']>['securityContext'],
  isPrivileged: boolean,
): { maskedPaths: readonly string[]; readonlyPaths: readonly string[] } {
  if (isPrivileged) return { maskedPaths: [], readonlyPaths: [] };
  const { maskedPaths = [], readonlyPaths = [] } = security ?? {};
  return {
    maskedPaths: maskedPaths.length > 0 ? maskedPaths : DEFAULT_MASKED_PATHS,
    readonlyPaths: readonlyPaths.length > 0 ? readonlyPaths : DEFAULT_READONLY_PATHS,
  };
}

/** A mount that a later one replaces at the same place is left out. */
function withoutHidden(mounts: readonly Mount[]): Mount[] {
  return mounts.filter(
    ({ destination }, index) =>
      !mounts.slice(index + 1).some((later) => later.destination === destination),
  );
}
