/** Which cgroups a process of `exec` starts in. */
import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { hasInnerCgroups } from '../cgroups/v2-controllers.ts';
import type { ContainerState } from './container-state.ts';
import { subCgroupPaths } from './sub-cgroups.ts';

/**
 * Those that `--cgroup` names, else the container's own.
 *
 * A container that has made cgroups inside of its own on cgroup v2, and given them controllers (systemd, Docker in Docker),
 * can have no process in its own any more: the kernel says EBUSY. Its first process is in one of those inside; so goes the
 * new one, as with runc.
 */
export function execCgroupPaths(
  state: Pick<ContainerState, 'pid' | 'cgroupPaths'>,
  options: readonly string[],
): Record<string, string> {
  const paths = subCgroupPaths(state.cgroupPaths, options);
  const own = paths[''];
  if (own === undefined || options.length > 0 || !hasInnerCgroups(own)) return paths;
  const ofInit = cgroupBelow(own, readFileSync(`/proc/${state.pid}/cgroup`, 'utf8'));
  return ofInit === undefined ? paths : { ...paths, '': ofInit };
}

/** Where the process with this /proc/PID/cgroup is, if that is `own` or below it. */
export function cgroupBelow(own: string, procCgroup: string): string | undefined {
  const path = /^0::(\/.*)$/m.exec(procCgroup)?.[1];
  if (path === undefined) return undefined;
  // The path starts at the root of the caller's namespace, `own` at the mount point: they share the middle.
  for (let mountPoint = posix.dirname(own); ; mountPoint = posix.dirname(mountPoint)) {
    const inside = posix.join(mountPoint, path);
    if (inside === own || inside.startsWith(`${own}/`)) return inside;
    if (mountPoint === '/') return undefined;
  }
}
