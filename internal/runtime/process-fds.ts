/** What the runtime opens for a process that it makes, in a new container or in one that is there. */
import { closeSync, fstatSync, openSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { isOnFileSystem } from '../linux/index.ts';
import type { InitFds } from './init-program.ts';
import type { Stdio } from './process-steps.ts';
import type { Rollback } from './rollback.ts';

/** The host's procfs, looked at by fd: what is written there must reach the kernel. */
export function openHostProc(rollback: Rollback): number {
  if (!isOnFileSystem('/proc', 'PROC_SUPER_MAGIC')) {
    throw new TsError('FailedPrecondition', '/proc of the host is not a procfs', {
      code: 'TS_HOST_PROC',
      advice: 'run "mount -t proc proc /proc"',
    });
  }
  return openForChild('/proc', 'open /proc of the host', rollback);
}

/** Opens what a child is to have, until `rollback`. */
export function openForChild(
  path: string,
  operation: string,
  rollback: Rollback,
  flags = 'r',
): number {
  try {
    const fd = openSync(path, flags);
    rollback.always(() => closeSync(fd));
    return fd;
  } catch (thrown) {
    throw TsError.from(thrown, operation);
  }
}

/**
 * cgroup v1: the files to write to; v2: the directory to start in; hybrid: both. Throws if one is
 * not there: a process that joins nothing would be in its caller's cgroups, without limits.
 */
export function openCgroups(
  paths: Readonly<Record<string, string>>,
  rollback: Rollback,
): Pick<InitFds, 'cgroup' | 'cgroupTasks'> {
  return cgroupFds(paths, (path, flags) =>
    openForChild(path, `open cgroup ${path}`, rollback, flags),
  );
}

/** As openCgroups, of cgroups that need not exist. */
export function cgroupFds(
  paths: Readonly<Record<string, string>>,
  opened: (path: string, flags: string) => number,
): Pick<InitFds, 'cgroup' | 'cgroupTasks'> {
  const tasks: [string, number][] = [];
  const seen = new Set<string>();
  let unified: number | undefined;
  for (const [controller, directory] of Object.entries(paths)) {
    if (seen.has(directory)) continue;
    seen.add(directory);
    const path = controller === '' ? directory : `${directory}/tasks`;
    const fd = opened(path, controller === '' ? 'r' : 'r+');
    if (controller === '') unified = fd;
    else tasks.push([path, fd]);
  }
  return { cgroup: unified, cgroupTasks: tasks };
}

/** /dev/null belongs to root; what is closed to nobody. */
export function ownedStdio(stdio: Stdio, hasTerminal: boolean): number[] {
  if (hasTerminal) return [0];
  return STDIO.filter((target) => ![undefined, DEV_NULL].includes(deviceOf(stdio, target)));
}

/** Which of stdio lead to the host's /dev/null. */
export function nullStdio(stdio: Stdio): number[] {
  return STDIO.filter((target) => deviceOf(stdio, target) === DEV_NULL);
}

const STDIO = [0, 1, 2];

/** st_rdev; undefined if it is not open. */
function deviceOf(stdio: Stdio, target: number): number | undefined {
  try {
    return fstatSync(stdio[target] ?? target).rdev;
  } catch {
    return undefined;
  }
}

/** st_rdev of the character device 1:3. */
const DEV_NULL = 0x103;
