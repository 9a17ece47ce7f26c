import { readFileSync } from 'node:fs';
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

/** Looks what is mounted. Throws FailedPrecondition if there is no cgroup file system. */
export function detectCgroupHost(): CgroupHost {
  const selfCgroup = readFileSync('/proc/self/cgroup', 'utf8');
  if (isCgroupV2(DEFAULT_MOUNT_POINT)) {
    // Saves reading mountinfo, which is long on a machine with many containers.
    const hierarchy = {
      controllers: [''],
      mountPoint: DEFAULT_MOUNT_POINT,
      root: '/',
      ownCgroup: parseSelfCgroup(selfCgroup).get('') ?? '/',
    };
    return { layout: 'unified', hierarchies: [hierarchy] };
  }
  return parseCgroupHost(readFileSync('/proc/self/mountinfo', 'utf8'), selfCgroup);
}

function isCgroupV2(path: string): boolean {
  try {
    return isOnFileSystem(path, 'CGROUP2_SUPER_MAGIC');
  } catch {
    return false; // no such directory: mountinfo tells where the trees are, if anywhere
  }
}

/** As {@link detectCgroupHost}, from the texts of /proc/self/mountinfo and /proc/self/cgroup. */
export function parseCgroupHost(mountinfo: string, selfCgroup: string): CgroupHost {
  const own = parseSelfCgroup(selfCgroup);
  const v1: Hierarchy[] = [];
  let v2: Hierarchy | undefined;
  const seen = new Set<string>();
  for (const line of mountinfo.split('\n')) {
    const separator = line.indexOf(' - cgroup');
    if (separator === -1) continue;
    const fields = line.slice(0, separator).split(' ');
    const [type, , options = ''] = line.slice(separator + 3).split(' ');
    const mountPoint = unescapeOctal(fields[4] ?? '');
    const root = unescapeOctal(fields[3] ?? '/');
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

/** Lines `4:memory:/path`, `3:cpu,cpuacct:/path`, `1:name=systemd:/path` and `0::/path`. */
function parseSelfCgroup(text: string): Map<string, string> {
  const paths = new Map<string, string>();
  for (const line of text.split('\n')) {
    const [, , controllers, path] = /^([0-9]+):([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    for (const controller of controllers.split(',')) paths.set(controller, path);
  }
  return paths;
}

/** mountinfo writes space, tab, newline and backslash as `\040` and so on (man 5 proc). */
function unescapeOctal(field: string): string {
  return field.replace(/\\([0-7]{3})/g, (_, digits) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}
