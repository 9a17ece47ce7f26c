import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import {
  type CgroupHost,
  type CgroupManager,
  detectCgroupHost,
  openCgroup,
} from '../cgroups/index.ts';

/**
 * The cgroup that a process is in, as long as it lives. Runtimes name cgroups in many ways; the
 * kernel knows.
 */
export function cgroupOfProcess(pid: number): CgroupManager {
  const text = readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  host ??= detectCgroupHost();
  return openCgroup(cgroupPathsOf(text, host));
}

/** Where cgroups are mounted stays as it is while a machine runs; mountinfo may be long. */
let host: CgroupHost | undefined;

/** Directories by controller from the text of /proc/PID/cgroup. */
export function cgroupPathsOf(text: string, host: CgroupHost): Record<string, string> {
  const cgroups = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    for (const controller of controllers.split(',')) cgroups.set(controller, path);
  }
  const paths: Record<string, string> = {};
  for (const hierarchy of host.hierarchies) {
    for (const controller of hierarchy.controllers) {
      const path = cgroups.get(controller);
      if (path === undefined) continue;
      paths[controller] = join(hierarchy.mountPoint, relative(hierarchy.root, path));
    }
  }
  return paths;
}
