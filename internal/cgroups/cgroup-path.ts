import { posix } from 'node:path';
import { TsError } from '../errors/index.ts';
import type { CgroupHost, Hierarchy } from './cgroup-host.ts';
import type { CgroupOptions } from './cgroup-manager.ts';

/**
 * The directory of a container's cgroup in each hierarchy, by controller (runtime-spec
 * config-linux.md#cgroups-path; the rules are runc's, so that engines find the cgroup).
 *
 * Absolute paths start at the hierarchy's mount point. Relative ones, and the id where there is no
 * path, start at this process's own cgroup; on cgroup v2 at its parent, as a cgroup that has
 * processes cannot hand controllers down.
 */
export function cgroupDirectories(
  host: CgroupHost,
  options: CgroupOptions,
): Record<string, string> {
  const path = containerCgroup(options);
  const directories: Record<string, string> = {};
  for (const hierarchy of host.hierarchies) {
    const directory = path.startsWith('/')
      ? posix.join(hierarchy.mountPoint, path)
      : posix.join(ownDirectory(hierarchy, host.layout === 'unified'), path);
    for (const controller of hierarchy.controllers) directories[controller] = directory;
  }
  return directories;
}

function containerCgroup({ id, cgroupsPath }: CgroupOptions): string {
  if (cgroupsPath === undefined || cgroupsPath === '') return id;
  // slice:prefix:name names a unit; as a path it would make a directory of that strange name.
  if (/^[^/:]*:[^/:]+:[^/:]+$/.test(cgroupsPath)) {
    throw new TsError(
      'FailedPrecondition',
      `linux.cgroupsPath ${JSON.stringify(cgroupsPath)} is for the systemd cgroup driver, which is off`,
      {
        code: 'TS_CGROUP_DRIVER_MISMATCH',
        advice: "set SystemdCgroup = false and the kubelet's cgroupDriver to cgroupfs",
        fields: { property: 'linux.cgroupsPath' },
      },
    );
  }
  // Joining with a root keeps ".." from leaving the tree, for relative paths too.
  const clean = posix.join('/', cgroupsPath);
  if (clean === '/') {
    throw new TsError(
      'InvalidArgument',
      `linux.cgroupsPath ${JSON.stringify(cgroupsPath)} is the root of all cgroups`,
      { code: 'TS_CGROUP_PATH_IS_ROOT', fields: { property: 'linux.cgroupsPath' } },
    );
  }
  const trimmed = clean.endsWith('/') ? clean.slice(0, -1) : clean;
  return cgroupsPath.startsWith('/') ? trimmed : trimmed.slice(1);
}

/** Where relative paths start: this process's cgroup as seen through the mount. */
function ownDirectory(hierarchy: Hierarchy, isUnified: boolean): string {
  const { mountPoint, root, ownCgroup } = hierarchy;
  const start = isUnified ? posix.dirname(ownCgroup) : ownCgroup;
  const relative = posix.relative(root, start);
  // Outside what is mounted here (a container without cgroup namespace): the mount's root is ours.
  return relative.startsWith('..') ? mountPoint : posix.join(mountPoint, relative);
}
