/**
 * Decides how each mount of config.json is made: which kind it is, where it goes, in which order.
 * Pure but for a look at sources and at symlinks of the rootfs, which only decides names: the
 * program opens everything anew, by fd.
 */
import { lstatSync, readlinkSync, statSync } from 'node:fs';
import { posix } from 'node:path';
import { errnoNameOf, TsError } from '../errors/index.ts';
import type { Mount } from '../oci/index.ts';
import { type CopyUpEntry, planCopyUp } from './copy-up.ts';
import { isWithin, normalizePath } from './in-root.ts';
import { type MountOptions, parseMountOptions } from './mount-options.ts';

export interface PlannedMount {
  /** For error texts: `mounts[3]`. */
  readonly property: string;
  readonly mount: Mount;
  readonly options: MountOptions;
  readonly kind: 'bind' | 'file system' | 'cgroup' | 'remount';
  /** Inside the container, normalized, without dangling symlinks. */
  readonly destination: string;
  /** Of a bind mount: absolute on the host. */
  readonly source: string;
  /** Whether the source of a bind mount is a directory. */
  readonly isDirectory: boolean;
  /**
   * Whether the image has the destination, so that nothing has to be made. Only a saving of steps: if
   * it is gone when the program gets there, the mount fails.
   */
  readonly isThere: boolean;
  /** Permission bits of a destination that is there. */
  readonly mode: number | undefined;
  /** What a tmpfs starts with (`tmpcopyup`). */
  readonly copyUp: readonly CopyUpEntry[];
}

export interface MountPlan {
  /** To be made at once. */
  readonly early: readonly PlannedMount[];
  /** To be made once the process is in its cgroup and cgroup namespace. */
  readonly late: readonly PlannedMount[];
}

/** Files in /proc that others may mount over, as LXCFS and fips mode do (runc's list). */
const REPLACEABLE_PROC_FILES = new Set([
  '/proc/cpuinfo',
  '/proc/diskstats',
  '/proc/meminfo',
  '/proc/stat',
  '/proc/swaps',
  '/proc/uptime',
  '/proc/loadavg',
  '/proc/slabinfo',
  '/proc/net/dev',
  '/proc/sys/kernel/ns_last_pid',
  '/proc/sys/crypto/fips_enabled',
]);

export interface MountPlanInput {
  readonly mounts: readonly Mount[];
  readonly bundle: string;
  readonly rootfs: string;
  /** Whether cgroup file systems show the container's own cgroup namespace. */
  readonly hasNewCgroupNamespace: boolean;
}

export function planMounts(input: MountPlanInput): MountPlan {
  const planned: PlannedMount[] = [];
  for (const [index, mount] of input.mounts.entries()) {
    planned.push(planMount(mount, `mounts[${index}]`, input, planned));
  }
  if (!input.hasNewCgroupNamespace) return { early: planned, late: [] };
  // A cgroup mount waits for the join; so does what shares a path with one that waits.
  const late: PlannedMount[] = [];
  const early = planned.filter((each) => {
    const waits = each.kind === 'cgroup' || late.some((other) => overlaps(each, other));
    if (waits) late.push(each);
    return !waits;
  });
  return { early, late };
}

function overlaps(a: PlannedMount, b: PlannedMount): boolean {
  return isWithin(a.destination, b.destination) || isWithin(b.destination, a.destination);
}

function planMount(
  mount: Mount,
  property: string,
  { bundle, rootfs }: MountPlanInput,
  earlier: readonly PlannedMount[],
): PlannedMount {
  const options = parseMountOptions(mount.options ?? []);
  const kind = kindOf(mount, options);
  const lexical = normalizePath(mount.destination);
  if (lexical === '/') {
    throw refuse(property, 'destination', 'is the root itself', 'use root.path for the root');
  }
  // On a file system that the runtime mounts itself there are no symlinks of the image; and the way
  // to /proc and /sys, which the runtime trusts later on, must have none.
  const isOnFreshMount = earlier.some(
    (other) => other.kind === 'file system' && isWithin(lexical, other.destination),
  );
  const isTrusted = mount.type === 'proc' || mount.type === 'sysfs';
  const destination = isOnFreshMount || isTrusted ? lexical : resolveInRootfs(rootfs, lexical);
  checkProcDestination(mount, kind, destination, property);
  const isCovered = earlier.some((other) => isWithin(destination, other.destination));
  const stat = isCovered
    ? undefined
    : statSync(`${rootfs}${destination}`, { throwIfNoEntry: false });
  const isThere = stat !== undefined;
  const mode = stat === undefined ? undefined : stat.mode & 0o7777;
  const covered = options.copiesUp ? coveredDirectory(destination, rootfs, earlier) : undefined;
  const copyUp = covered === undefined ? [] : planCopyUp(covered, property);
  const planned = { property, mount, options, kind, destination, isThere, mode, copyUp };
  if (kind !== 'bind') return { ...planned, source: '', isDirectory: true };
  const source = posix.resolve(bundle, mount.source ?? '');
  return { ...planned, source, ...sourceType(source, property) };
}

/**
 * The directory of the host that a destination shows when its turn comes; undefined if that is of a new file
 * system, which has nothing to be copied.
 */
function coveredDirectory(
  destination: string,
  rootfs: string,
  earlier: readonly PlannedMount[],
): string | undefined {
  const index = earlier.findLastIndex((other) => isWithin(destination, other.destination));
  const cover = earlier[index];
  if (cover === undefined) return `${rootfs}${destination}`;
  if (cover.kind === 'remount')
    return coveredDirectory(destination, rootfs, earlier.slice(0, index));
  const below = destination.slice(cover.destination.length);
  if (cover.kind === 'bind') return `${cover.source}${resolveInRootfs(cover.source, below)}`;
  const isCopied = cover.options.copiesUp;
  return isCopied ? coveredDirectory(destination, rootfs, earlier.slice(0, index)) : undefined;
}

function kindOf(mount: Mount, options: MountOptions): PlannedMount['kind'] {
  if (options.bind !== undefined || mount.type === 'bind' || mount.type === 'rbind') return 'bind';
  if (options.isRemount) return 'remount';
  if (mount.type === 'cgroup' || mount.type === 'cgroup2') return 'cgroup';
  return 'file system';
}

function sourceType(source: string, property: string): { isDirectory: boolean } {
  try {
    return { isDirectory: statSync(source).isDirectory() };
  } catch (thrown) {
    const errno = errnoNameOf(thrown) ?? 'EIO';
    if (errno === 'EACCES') return { isDirectory: true }; // the program tells, as whom it runs
    throw new TsError('NotFound', `${property}.source: stat ${source}: ${errno}`, {
      cause: thrown,
      fields: { property, path: source, errno },
    });
  }
}

/**
 * Attack: a mount that covers parts of /proc, so that what the runtime writes there goes astray
 * (CVE-2019-16884). Only a procfs may be put on /proc, and only known files inside it be covered.
 */
function checkProcDestination(
  mount: Mount,
  kind: PlannedMount['kind'],
  destination: string,
  property: string,
): void {
  if (!isWithin(destination, '/proc')) return;
  if (destination === '/proc') {
    // Whether a bind mount's source is a procfs is checked by fd, when it is mounted.
    if (mount.type === 'proc' || kind === 'bind' || kind === 'remount') return;
    throw refuse(property, 'type', `${JSON.stringify(mount.type)} on /proc is not a procfs`);
  }
  if (kind === 'bind' && REPLACEABLE_PROC_FILES.has(destination)) return;
  throw refuse(
    property,
    'destination',
    `${destination} cannot be mounted because it is inside /proc`,
  );
}

function refuse(property: string, name: string, problem: string, advice?: string): TsError {
  return new TsError('InvalidArgument', `config.json: ${property}.${name}: ${problem}`, {
    code: 'TS_MOUNT_REFUSED',
    fields: { property: `${property}.${name}` },
    ...(advice === undefined ? {} : { advice }),
  });
}

const GREATEST_LINK_COUNT = 40;

/**
 * The place that `path` names inside the rootfs when its symlinks are followed there, also those
 * that dangle: a mount target behind one is made where the symlink points to.
 */
export function resolveInRootfs(rootfs: string, path: string): string {
  const pending = path.split('/').filter((part) => part !== '');
  const done: string[] = [];
  let links = 0;
  while (pending.length > 0) {
    const part = pending.shift() as string;
    if (part === '.' || part === '') continue;
    if (part === '..') {
      done.pop();
      continue;
    }
    const target = readLink(`${rootfs}/${[...done, part].join('/')}`);
    if (target === undefined) {
      done.push(part);
      continue;
    }
    if (++links > GREATEST_LINK_COUNT) {
      throw TsError.from(
        Object.assign(new Error('too many symlinks'), { code: 'ELOOP', path }),
        `resolve ${path} in ${rootfs}`,
      );
    }
    if (target.startsWith('/')) done.length = 0;
    pending.unshift(...target.split('/').filter((each) => each !== ''));
  }
  return `/${done.join('/')}`;
}

function readLink(path: string): string | undefined {
  // Asked first, as an error thrown for each usual component would take most of the time.
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() !== true) return undefined;
  return readlinkSync(path);
}
