import { existsSync, readFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { isOnFileSystem } from '../linux/index.ts';
import type { CgroupLayout } from './cgroup-manager.ts';

/** One cgroup tree as this process sees it (man 7 cgroups). */
export interface Hierarchy {
  /** `cpu`, `cpuacct`; `name=systemd` for a named one; `''` alone for cgroup v2. */
  readonly controllers: readonly string[];
  readonly mountPoint: string;
  /** The cgroup that is mounted there; `/` but in containers. */
  readonly root: string;
  /** The cgroup of this process. */
  readonly ownCgroup: string;
}

/** The cgroup trees of this machine. */
export interface CgroupHost {
  readonly layout: CgroupLayout;
  /** v1 hierarchies, then that of v2. */
  readonly hierarchies: readonly Hierarchy[];
}

const DEFAULT_MOUNT_POINT = '/sys/fs/cgroup';

/**
 * Looks what is mounted. Throws FailedPrecondition if there is no cgroup file system.
 *
 * The kernel's list of mounts is long on a machine with many containers (4 ms for 1700), so the usual
 * places are tried first.
 */
export function detectCgroupHost(): CgroupHost {
  const selfCgroup = readFileSync('/proc/self/cgroup', 'utf8');
  return (
    usualCgroupHost(selfCgroup) ??
    parseCgroupHost(readFileSync('/proc/self/mountinfo', 'utf8'), selfCgroup)
  );
}

/** The trees where systemd mounts them, whole; undefined if any is elsewhere or in part. */
function usualCgroupHost(selfCgroup: string): CgroupHost | undefined {
  const v2Path = parseSelfCgroup(selfCgroup).get('');
  if (isMounted(DEFAULT_MOUNT_POINT, 'CGROUP2_SUPER_MAGIC')) {
    return v2Path === undefined ? undefined : unified(DEFAULT_MOUNT_POINT, v2Path);
  }
  const hierarchies: Hierarchy[] = [];
  for (const { controllers, path } of v1Lines(selfCgroup)) {
    const directory = controllers.join(',').replace(/^name=/, '');
    const hierarchy = whole(`${DEFAULT_MOUNT_POINT}/${directory}`, controllers, path);
    if (hierarchy === undefined) return undefined;
    if (!isMounted(hierarchy.mountPoint, 'CGROUP_SUPER_MAGIC')) return undefined;
    hierarchies.push(hierarchy);
  }
  const mountPoint = `${DEFAULT_MOUNT_POINT}/unified`;
  if (hierarchies.length === 0) return undefined;
  if (!isMounted(mountPoint, 'CGROUP2_SUPER_MAGIC')) return undefined; // v1 alone, or v2 elsewhere
  const v2 = v2Path === undefined ? undefined : whole(mountPoint, [''], v2Path);
  return v2 && { layout: 'hybrid', hierarchies: [...hierarchies, v2] };
}

function unified(mountPoint: string, path: string): CgroupHost | undefined {
  const v2 = whole(mountPoint, [''], path);
  return v2 && { layout: 'unified', hierarchies: [v2] };
}

/** A hierarchy whose root is mounted; else, as in a container, our own cgroup is not where it says. */
function whole(
  mountPoint: string,
  controllers: readonly string[],
  ownCgroup: string,
): Hierarchy | undefined {
  const isThere = existsSync(`${mountPoint}${ownCgroup}/cgroup.procs`);
  return isThere ? { controllers, mountPoint, root: '/', ownCgroup } : undefined;
}

function isMounted(path: string, magic: 'CGROUP_SUPER_MAGIC' | 'CGROUP2_SUPER_MAGIC'): boolean {
  try {
    return isOnFileSystem(path, magic);
  } catch {
    return false; // no such directory: mountinfo tells where the trees are, if anywhere
  }
}

/**
 * CRIU mounts hierarchies that it needs for itself, for a moment, in `.criu.cgmounts.XXXXXX` at a dump and in
 * `.criu.cgyard.XXXXXX` at a restore. What is mounted nowhere else is gone with it while we use it.
 */
const PASSING_MOUNT = '/.criu.cg';

/** As {@link detectCgroupHost}, from the texts of /proc/self/mountinfo and /proc/self/cgroup. */
export function parseCgroupHost(mountinfo: string, selfCgroup: string): CgroupHost {
  const own = parseSelfCgroup(selfCgroup);
  const v1: Hierarchy[] = [];
  let v2: Hierarchy | undefined;
  const seen = new Set<string>();
  // Only the lines with what is looked for are cut out of the long text.
  for (
    let at = mountinfo.indexOf(' - cgroup');
    at >= 0;
    at = mountinfo.indexOf(' - cgroup', at + 1)
  ) {
    const line = mountinfo.slice(mountinfo.lastIndexOf('\n', at) + 1, endOfLine(mountinfo, at));
    const separator = line.indexOf(' - cgroup');
    const fields = line.slice(0, separator).split(' ');
    const [type, , options = ''] = line.slice(separator + 3).split(' ');
    const mountPoint = unescapeOctal(fields[4] ?? '');
    const root = unescapeOctal(fields[3] ?? '/');
    if (mountPoint.includes(PASSING_MOUNT)) continue;
    if (type === 'cgroup2') {
      v2 ??= { controllers: [''], mountPoint, root, ownCgroup: own.get('') ?? '/' };
      continue;
    }
    const controllers = options.split(',').filter((option) => own.has(option));
    const [first] = controllers;
    if (type !== 'cgroup' || first === undefined || seen.has(first)) continue;
    seen.add(first);
    v1.push({ controllers, mountPoint, root, ownCgroup: own.get(first) ?? '/' });
  }
  if (v1.length > 0) {
    const hierarchies = v2 === undefined ? v1 : [...v1, v2];
    return { layout: v2 === undefined ? 'legacy' : 'hybrid', hierarchies };
  }
  if (v2 !== undefined) return { layout: 'unified', hierarchies: [v2] };
  throw new TsError('FailedPrecondition', 'find cgroups: no cgroup file system is mounted', {
    code: 'TS_CGROUP_NOT_MOUNTED',
    advice: `run "mount -t cgroup2 none ${DEFAULT_MOUNT_POINT}"`,
  });
}

function endOfLine(text: string, at: number): number {
  const end = text.indexOf('\n', at);
  return end === -1 ? text.length : end;
}

/** Paths by controller. */
function parseSelfCgroup(text: string): Map<string, string> {
  const paths = new Map<string, string>();
  for (const { controllers, path } of cgroupLines(text)) {
    for (const controller of controllers) paths.set(controller, path);
  }
  return paths;
}

interface CgroupLine {
  readonly controllers: readonly string[];
  readonly path: string;
}

function v1Lines(text: string): CgroupLine[] {
  return cgroupLines(text).filter(({ controllers }) => controllers[0] !== '');
}

/** Lines `4:memory:/path`, `3:cpu,cpuacct:/path`, `1:name=systemd:/path` and `0::/path`. */
function cgroupLines(text: string): CgroupLine[] {
  const lines: CgroupLine[] = [];
  for (const line of text.split('\n')) {
    const first = line.indexOf(':');
    const second = line.indexOf(':', first + 1);
    if (first < 0 || line[second + 1] !== '/') continue;
    const controllers = line.slice(first + 1, second).split(',');
    lines.push({ controllers, path: line.slice(second + 1) });
  }
  return lines;
}

/** mountinfo writes space, tab, newline and backslash as `\040` and so on (man 5 proc). */
function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
