/**
 * Mounts of a container whose source is the host's: CRIU does not save them, it asks for each by a
 * name when it restores.
 *
 * Attack: the image or the running container crafts symlinks, so that the places of two such mounts
 * look the same, and a restore binds one directory of the host where another belongs, or one that the
 * container should not have (CVE-2026-119101, crun CVE-2026-115520, CRIU CVE-2026-119614). Defence: a
 * name is made from config.json alone, never from a path as it was resolved; at a checkpoint a mount gets its name only
 * if it shows what config.json says; and after a restore, before anything runs, every mount that
 * shows something of the host's must be one of config.json's. Images may lie as they like.
 */
import { TsError } from '../errors/index.ts';
import type { MountInfo } from '../linux/index.ts';
import { isWithin } from './in-root.ts';
import type { MountAttribute } from './mount-options.ts';

/** What a mount shows: a place in a file system. */
export interface MountIdentity {
  /** `8:1` */
  readonly device: string;
  /** The directory or file of the file system. */
  readonly root: string;
}

/** A mount of the host's that a container has. */
export interface ExternalMount {
  /** What CRIU knows it by: `mount-1-/etc/hosts`. */
  readonly name: string;
  /** For error texts: `mounts[3]`. */
  readonly property: string;
  /** Inside the container. */
  readonly mountPoint: string;
  /** On the host. */
  readonly source: string;
  readonly identity: MountIdentity | undefined;
  /** Options that it must have after a restore: `ro`, `nosuid`, … */
  readonly options: readonly MountAttribute[];
  /** A mask or a device is left out where the container has none. */
  readonly isOptional: boolean;
}

/** What is shown at a path, as the mounts of this process are. The path has no symlinks. */
export function identityOf(path: string, mounts: readonly MountInfo[]): MountIdentity | undefined {
  let found: MountInfo | undefined;
  for (const mount of mounts) {
    if (!isWithin(path, mount.mountPoint)) continue;
    if (found === undefined || mount.mountPoint.length >= found.mountPoint.length) found = mount;
  }
  if (found === undefined) return undefined;
  const rest = found.mountPoint === '/' ? path : path.slice(found.mountPoint.length);
  const root = `${found.root === '/' ? '' : found.root}${rest === '/' ? '' : rest}`;
  return { device: deviceOf(found), root: root === '' ? '/' : root };
}

const deviceOf = ({ major, minor }: MountInfo): string => `${major}:${minor}`;

/** The kernel's mark of a directory entry that was replaced on the host. */
const DELETED = '//deleted';

function shows(mount: MountInfo, identity: MountIdentity | undefined): boolean {
  if (identity === undefined) return false;
  const root = mount.root.endsWith(DELETED) ? mount.root.slice(0, -DELETED.length) : mount.root;
  return deviceOf(mount) === identity.device && root === identity.root;
}

const describe = (mount: MountInfo): string => `${mount.type} ${deviceOf(mount)} ${mount.root}`;

/**
 * The externals that a running container really has, each with its own mount point. Throws
 * FailedPrecondition for one that is not what config.json says, and where two cannot be told apart.
 */
export function presentExternals(
  externals: readonly ExternalMount[],
  container: readonly MountInfo[],
): ExternalMount[] {
  const present = externals.filter((external) => {
    const mount = container.findLast(({ mountPoint }) => mountPoint === external.mountPoint);
    if (mount === undefined) return false;
    if (shows(mount, external.identity)) return true;
    if (external.isOptional) return false;
    const { property, mountPoint, source } = external;
    throw refuse(`${property}: ${mountPoint} shows ${describe(mount)}, not ${source}`);
  });
  const byPlace = new Map<string, ExternalMount>();
  for (const external of present) {
    const { mountPoint, property } = external;
    // What CRIU takes is one text: mnt[MOUNT POINT]:NAME.
    if (mountPoint.includes(']:')) throw refuse(`${property}: ${mountPoint} contains "]:"`);
    const other = byPlace.get(mountPoint);
    if (other !== undefined) {
      throw refuse(`${other.property} and ${property} are both on ${mountPoint}`);
    }
    byPlace.set(mountPoint, external);
  }
  return present;
}

/** What mounts a restored container may have, besides those on file systems of its own. */
export interface AllowedMounts {
  readonly externals: readonly ExternalMount[];
  /** What the root shows. */
  readonly root: MountIdentity | undefined;
  /** File systems of config.json: of the kernel's there may be but one on the machine. */
  readonly fileSystems: readonly { readonly type: string; readonly destination: string }[];
  /** Mounts of this process: what is on one of their file systems is the host's. */
  readonly host: readonly MountInfo[];
}

/** Throws FailedPrecondition if a restored container has a mount that config.json does not give it. */
export function checkRestoredMounts(restored: readonly MountInfo[], allowed: AllowedMounts): void {
  const { externals, root, fileSystems, host } = allowed;
  const hostDevices = new Set(host.map(deviceOf));
  const isBelow = (mount: MountInfo, identity: MountIdentity | undefined): boolean =>
    identity !== undefined &&
    deviceOf(mount) === identity.device &&
    isWithin(mount.root, identity.root);
  for (const mount of restored) {
    const { mountPoint } = mount;
    if (mountPoint === '/') {
      if (shows(mount, root)) continue;
      throw refuse(`after the restore the root shows ${describe(mount)}`);
    }
    const external = externals.find((each) => each.mountPoint === mountPoint);
    if (external !== undefined && shows(mount, external.identity)) {
      checkOptions(mount, external);
      continue;
    }
    if (!hostDevices.has(deviceOf(mount))) continue; // of the container's own
    if (external !== undefined && !external.isOptional) {
      const { property, source } = external;
      throw refuse(
        `after the restore ${mountPoint} shows ${describe(mount)}, not ${source} (${property})`,
      );
    }
    const isKernels = fileSystems.some(
      ({ type, destination }) => type === mount.type && isWithin(mountPoint, destination),
    );
    const isKnown = isKernels || isBelow(mount, root) || isMountedBelow(mount, allowed);
    if (!isKnown) {
      throw refuse(`after the restore ${mountPoint} shows ${describe(mount)} of the host`);
    }
  }
}

/** What is mounted below the source of a recursive bind. */
function isMountedBelow(mount: MountInfo, { externals, host }: AllowedMounts): boolean {
  const external = externals.find(({ mountPoint }) => isWithin(mount.mountPoint, mountPoint));
  if (external === undefined) return false;
  const rest = mount.mountPoint.slice(external.mountPoint.length);
  return host.some(
    (each) =>
      each.mountPoint === `${external.source}${rest}` &&
      shows(mount, { device: deviceOf(each), root: each.root }),
  );
}

function checkOptions(mount: MountInfo, { options, property }: ExternalMount): void {
  for (const option of options) {
    if (mount.options.includes(option)) continue;
    throw refuse(`after the restore ${mount.mountPoint} is not ${option} (${property})`);
  }
}

function refuse(problem: string): TsError {
  return new TsError('FailedPrecondition', problem, { code: 'TS_EXTERNAL_MOUNT' });
}
