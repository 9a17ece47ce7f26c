import type { Device } from '../oci/index.ts';
import { isWithin, nameOf, normalizePath, parentOf } from './in-root.ts';
import type { PlannedMount } from './mount-plan.ts';

/** A node to make: a device of the spec or one that every container has. */
export interface PlannedDevice {
  readonly path: string;
  readonly directory: string;
  readonly name: string;
  readonly type: 'S_IFCHR' | 'S_IFBLK' | 'S_IFIFO';
  readonly major: number;
  readonly minor: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Whether it goes to a tmpfs of its own mount, where nothing can be in its place. */
  readonly isOnFreshMount: boolean;
}

/** runtime-spec config-linux.md#default-devices, without the terminal's. */
export const DEFAULT_DEVICES: readonly Device[] = [
  { type: 'c', path: '/dev/null', major: 1, minor: 3 },
  { type: 'c', path: '/dev/zero', major: 1, minor: 5 },
  { type: 'c', path: '/dev/full', major: 1, minor: 7 },
  { type: 'c', path: '/dev/random', major: 1, minor: 8 },
  { type: 'c', path: '/dev/urandom', major: 1, minor: 9 },
  { type: 'c', path: '/dev/tty', major: 5, minor: 0 },
];

/** runtime-spec config-linux.md#dev-symbolic-links */
export const DEFAULT_SYMLINKS: readonly (readonly [target: string, path: string])[] = [
  ['/proc/self/fd', '/dev/fd'],
  ['/proc/self/fd/0', '/dev/stdin'],
  ['/proc/self/fd/1', '/dev/stdout'],
  ['/proc/self/fd/2', '/dev/stderr'],
];

const DEFAULT_MODE = 0o666;

const TYPES = { c: 'S_IFCHR', u: 'S_IFCHR', b: 'S_IFBLK', p: 'S_IFIFO' } as const;

/** Whether /dev is ours to fill: not if the host's or another directory is bound there. */
export function fillsDev(mounts: readonly PlannedMount[]): boolean {
  return !mounts.some(({ kind, destination }) => kind === 'bind' && destination === '/dev');
}

/**
 * The nodes to make, each path once: a device of the spec replaces a default one of its path. What a
 * mount of the spec covers is left to that mount.
 */
export function planDevices(
  devices: readonly Device[],
  mounts: readonly PlannedMount[],
): PlannedDevice[] {
  const byPath = new Map<string, PlannedDevice>();
  for (const device of [...DEFAULT_DEVICES, ...devices]) {
    const planned = planDevice(device, mounts);
    const isCovered = mounts.some(
      ({ kind, destination }) =>
        kind === 'bind' && destination !== '/' && isWithin(planned.path, destination),
    );
    if (!isCovered) byPath.set(planned.path, planned);
  }
  return [...byPath.values()];
}

function planDevice(device: Device, mounts: readonly PlannedMount[]): PlannedDevice {
  const path = normalizePath(device.path);
  const below = mounts.findLast(({ destination }) => isWithin(path, destination));
  return {
    path,
    directory: parentOf(path),
    name: nameOf(path),
    type: TYPES[device.type],
    major: device.major ?? 0,
    minor: device.minor ?? 0,
    mode: device.fileMode ?? DEFAULT_MODE,
    uid: device.uid ?? 0,
    gid: device.gid ?? 0,
    isOnFreshMount: below?.mount.type === 'tmpfs',
  };
}
