import { existsSync, mkdirSync, realpathSync } from 'node:fs';
import { posix } from 'node:path';
import { type Mount as CriMount, MountPropagation } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import {
  DEFAULT_DEV_MOUNTS,
  DEFAULT_MQUEUE_MOUNT,
  DEFAULT_PROC_MOUNT,
  type IdMapping,
  type Mount,
} from '../oci/index.ts';

/** The file systems of every container, before its own mounts. */
export function baseMounts(options: {
  readonly isSysWritable: boolean;
  readonly isCgroupWritable: boolean;
  readonly isHostNetwork: boolean;
  readonly isUserNamespace: boolean;
}): Mount[] {
  const sysMode = options.isSysWritable ? 'rw' : 'ro';
  const cgroupMode = options.isCgroupWritable ? 'rw' : 'ro';
  // Only the owner of the network namespace may mount a sysfs, which shows its interfaces.
  const needsHostSys = options.isUserNamespace && options.isHostNetwork;
  const sys: Mount = needsHostSys
    ? {
        destination: '/sys',
        type: 'bind',
        source: '/sys',
        options: ['nosuid', 'noexec', 'nodev', 'rbind', sysMode],
      }
    : {
        destination: '/sys',
        type: 'sysfs',
        source: 'sysfs',
        options: ['nosuid', 'noexec', 'nodev', sysMode],
      };
  return [
    DEFAULT_PROC_MOUNT,
    ...DEFAULT_DEV_MOUNTS,
    DEFAULT_MQUEUE_MOUNT,
    sys,
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: ['nosuid', 'noexec', 'nodev', 'relatime', cgroupMode],
    },
  ];
}

/** A path of a container, without `..` and without a slash at its end. */
export function inRoot(path: string): string {
  return posix.resolve('/', path);
}

/** Files of a pod that its containers see, unless they mount something else there. */
export interface PodFiles {
  readonly hostname: string;
  readonly hosts: string;
  readonly resolvConf: string;
  readonly shm: string;
}

/** The mounts of the pod's files. Those of a read-only root are read-only, except shared memory. */
export function podFileMounts(
  files: PodFiles,
  taken: readonly Pick<CriMount, 'containerPath'>[],
  isReadonlyRoot: boolean,
): Mount[] {
  const isTaken = new Set(taken.map(({ containerPath }) => inRoot(containerPath)));
  const bind = (destination: string, source: string, mode: string): Mount => ({
    destination,
    type: 'bind',
    source,
    options: ['rbind', 'rprivate', mode],
  });
  const mode = isReadonlyRoot ? 'ro' : 'rw';
  const mounts = [
    bind('/etc/hostname', files.hostname, mode),
    bind('/etc/hosts', files.hosts, mode),
    bind('/etc/resolv.conf', files.resolvConf, mode),
    bind('/dev/shm', files.shm, 'rw'),
  ];
  return mounts.filter(
    ({ destination, source = '' }) => !isTaken.has(destination) && existsSync(source),
  );
}

/**
 * The mounts that a container asks for, in an order in which none hides a later one: by the depth of
 * their target. Throws InvalidArgument by the mount's path.
 *
 * A host path that is not there is made as a directory, as Kubernetes expects of a volume without a type.
 */
export function requestedMounts(mounts: readonly CriMount[]): Mount[] {
  const seen = new Set<string>();
  const translated = mounts.map((mount) => {
    const { containerPath } = mount;
    const refuse = (what: string): never => {
      throw new TsError('InvalidArgument', `mount ${JSON.stringify(containerPath)}: ${what}`);
    };
    if (containerPath === '') refuse('container_path is empty');
    if (containerPath.includes('\0') || mount.hostPath.includes('\0')) refuse('NUL in a path');
    const destination = inRoot(containerPath);
    if (seen.has(destination)) refuse('mounted twice');
    seen.add(destination);
    if (mount.image !== undefined) refuse('image volumes are not supported yet');
    if (mount.hostPath === '') refuse('host_path is empty');
    if (mount.recursiveReadOnly) {
      if (!mount.readonly) refuse('recursive_read_only without readonly');
      if (mount.propagation !== MountPropagation.PROPAGATION_PRIVATE) {
        refuse('recursive_read_only needs private propagation');
      }
    }
    return {
      destination,
      type: 'bind',
      source: hostPath(mount.hostPath, destination),
      options: optionsOf(mount),
      ...mappings('uidMappings', mount.uidMappings),
      ...mappings('gidMappings', mount.gidMappings),
    };
  });
  return translated.sort((a, b) => depth(a.destination) - depth(b.destination));
}

/** Options that a request may add: such as take something away from the container, and what only saves writing times. */
const MOUNT_OPTIONS: readonly string[] = [
  ...['noexec', 'nosuid', 'nodev', 'nosymfollow'],
  ...['noatime', 'nodiratime', 'relatime'],
];

function optionsOf(mount: CriMount): string[] {
  const propagation: Readonly<Record<number, string>> = {
    [MountPropagation.PROPAGATION_PRIVATE]: 'rprivate',
    [MountPropagation.PROPAGATION_HOST_TO_CONTAINER]: 'rslave',
    [MountPropagation.PROPAGATION_BIDIRECTIONAL]: 'rshared',
  };
  const mode = mount.recursiveReadOnly ? 'rro' : mount.readonly ? 'ro' : 'rw';
  for (const option of mount.mountOptions) {
    if (MOUNT_OPTIONS.includes(option)) continue;
    throw new TsError(
      'InvalidArgument',
      `mount ${JSON.stringify(mount.containerPath)}: mount option ${JSON.stringify(option)}`,
      { advice: `use ${MOUNT_OPTIONS.join(', ')}` },
    );
  }
  return ['rbind', propagation[mount.propagation] ?? 'rprivate', mode, ...mount.mountOptions];
}

function mappings(
  field: 'uidMappings' | 'gidMappings',
  given: CriMount['uidMappings'],
): { readonly [name in typeof field]?: IdMapping[] } {
  if (given.length === 0) return {};
  const mapped = given.map(({ hostId, containerId, length }) => ({
    containerID: containerId,
    hostID: hostId,
    size: length,
  }));
  return { [field]: mapped };
}

/** Symlinks of the host are followed now, by the daemon, not later by the runtime. */
function hostPath(path: string, destination: string): string {
  try {
    return realpathSync(path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') {
      throw TsError.from(thrown, `mount ${destination}: host path ${path}`);
    }
  }
  try {
    mkdirSync(path, { recursive: true, mode: 0o755 });
    return realpathSync(path);
  } catch (thrown) {
    throw TsError.from(thrown, `mount ${destination}: make host path ${path}`);
  }
}

const depth = (path: string): number => (path === '/' ? 0 : path.split('/').length);

/** What the root's propagation must be so that each mount's own works. */
export function rootPropagation(mounts: readonly CriMount[]): 'rprivate' | 'rslave' | 'rshared' {
  let result: 'rprivate' | 'rslave' | 'rshared' = 'rprivate';
  for (const { propagation } of mounts) {
    if (propagation === MountPropagation.PROPAGATION_BIDIRECTIONAL) return 'rshared';
    if (propagation === MountPropagation.PROPAGATION_HOST_TO_CONTAINER) result = 'rslave';
  }
  return result;
}
