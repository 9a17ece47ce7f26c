/** Which mounts of a container are the host's, as config.json and this machine have them. */
import { realpathSync } from 'node:fs';
import { type CgroupHost, type CgroupManager, detectCgroupHost } from '../cgroups/index.ts';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { type MountInfo, readMountInfo } from '../linux/index.ts';
import type { Bundle } from './bundle.ts';
import { planDevices } from './device-plan.ts';
import {
  checkRestoredMounts,
  type ExternalMount,
  identityOf,
  type MountIdentity,
} from './external-mounts.ts';
import { nameOf, normalizePath } from './in-root.ts';
import type { MountAttribute } from './mount-options.ts';
import { type PlannedMount, planMounts } from './mount-plan.ts';
import { planNamespaces } from './namespace-plan.ts';

export interface ExternalPlan {
  readonly externals: readonly ExternalMount[];
  readonly mounts: readonly PlannedMount[];
  /** Mounts of this process. */
  readonly host: readonly MountInfo[];
  readonly root: MountIdentity | undefined;
}

/** Options of a mount point that must be the same after a restore. */
const KEPT_OPTIONS = ['ro', 'nosuid', 'nodev', 'noexec'] as const;

/**
 * The names are what checkpoint and restore agree on: they must not depend on anything but config.json. Nor on its order:
 * an engine that restores under another name writes it anew, and Podman's mounts are then in another order.
 */
export function planExternals(bundle: Bundle, cgroup: CgroupManager): ExternalPlan {
  const { spec, directory, rootfs } = bundle;
  const { linux = {} } = spec;
  const hasNewCgroupNamespace = planNamespaces(linux.namespaces ?? []).unsharesCgroup;
  const { early, late } = planMounts({
    mounts: spec.mounts ?? [],
    bundle: directory,
    rootfs,
    hasNewCgroupNamespace,
  });
  const mounts = [...early, ...late];
  const host = readMountInfo();
  const external = (
    name: string,
    property: string,
    mountPoint: string,
    source: string,
    { options = [], isOptional = false }: { options?: MountAttribute[]; isOptional?: boolean } = {},
  ): ExternalMount => {
    const real = realPath(source, property, isOptional);
    const identity = real === undefined ? undefined : identityOf(real, host);
    return { name, property, mountPoint, source: real ?? source, identity, options, isOptional };
  };
  const places = new Map<string, number>();
  const binds = mounts
    .filter(({ kind }) => kind === 'bind')
    .map(({ property, destination, source, options }) => {
      const kept = KEPT_OPTIONS.filter((option) => options.attributes.set.has(option));
      const count = (places.get(destination) ?? 0) + 1;
      places.set(destination, count);
      const name = `mount-${count}-${quoted(destination)}`;
      return external(name, property, destination, source, { options: kept });
    });
  const masks = (linux.maskedPaths ?? []).map((path, index) => {
    const place = normalizePath(path);
    const options: MountAttribute[] = ['ro'];
    const property = `linux.maskedPaths[${index}]`;
    return external(`mask-${quoted(place)}`, property, place, '/dev/null', {
      options,
      isOptional: true,
    });
  });
  const devices = planDevices(linux.devices ?? [], mounts).map(({ path }) =>
    external(`device-${quoted(path)}`, `device ${path}`, path, path, { isOptional: true }),
  );
  const cgroups = hasNewCgroupNamespace
    ? []
    : mounts
        .filter(({ kind }) => kind === 'cgroup')
        .flatMap(({ property, destination }) =>
          cgroupDirectories(cgroup, detectCgroupHost()).map(([name, path]) => {
            const mountPoint = name === '' ? destination : `${destination}/${name}`;
            return external(`cgroup-${name}`, `${property} ${name}`, mountPoint, path);
          }),
        );
  return {
    externals: [...binds, ...masks, ...devices, ...cgroups],
    mounts,
    host,
    root: identityOf(rootfs, host),
  };
}

/** Throws FailedPrecondition if a restored container, of which nothing runs yet, has a mount that its plan does not give it. */
export function checkRestored(
  pid: number,
  { externals, mounts, root, host: before }: ExternalPlan,
): void {
  const fileSystems = mounts
    .filter(({ kind }) => kind === 'file system' || kind === 'cgroup')
    .flatMap(({ mount, destination, kind }) => {
      const types = kind === 'cgroup' ? ['cgroup', 'cgroup2'] : [mount.type ?? ''];
      return types.map((type) => ({ type, destination }));
    });
  // Device numbers without a block device (major 0) are used again at once when a file system is unmounted: one that the
  // container has made itself may have that of a mount of the host's that was there when this was planned.
  const host = [...before.filter(({ major }) => major !== 0), ...readMountInfo()];
  checkRestoredMounts(readMountInfo(pid), { externals, root, fileSystems, host });
}

/** A path as a part of a name: CRIU takes `mnt[NAME]:PATH`. */
function quoted(path: string): string {
  return encodeURIComponent(path).replaceAll('%2F', '/');
}

function realPath(path: string, property: string, isOptional: boolean): string | undefined {
  try {
    return realpathSync(path);
  } catch (thrown) {
    if (isOptional) return undefined;
    throw new TsError('NotFound', `${property}.source: open ${path}: ${errnoNameOf(thrown)}`, {
      cause: thrown,
      fields: { property, path },
    });
  }
}

/** Directories of the cgroup that are bound where there is no cgroup namespace, by their name there. */
function cgroupDirectories(cgroup: CgroupManager, host: CgroupHost): [string, string][] {
  const unified = cgroup.paths[''];
  if (cgroup.layout === 'unified') return unified === undefined ? [] : [['', unified]];
  return host.hierarchies
    .filter(({ controllers }) => controllers[0] !== '')
    .flatMap(({ controllers, mountPoint }): [string, string][] => {
      const path = controllers.map((name) => cgroup.paths[name]).find((each) => each !== undefined);
      return path === undefined ? [] : [[nameOf(mountPoint), path]];
    });
}
