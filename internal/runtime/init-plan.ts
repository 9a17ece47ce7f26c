/** Gathers what the init program needs to know of the bundle and of this machine. */
import { closeSync, existsSync } from 'node:fs';
import type { CgroupHost, CgroupManager } from '../cgroups/index.ts';
import { copyMountTree, readMountInfo, SyscallProgram, steps } from '../linux/index.ts';
import type { Linux, Spec } from '../oci/index.ts';
import type { Bundle } from './bundle.ts';
import type { CgroupView } from './cgroup-mount-steps.ts';
import type { CreateRequest } from './create.ts';
import { type MaySetGroups, planCapabilities } from './credential-steps.ts';
import { fillsDev, planDevices } from './device-plan.ts';
import { withProgramEnvironment } from './environment.ts';
import { HomeByChild } from './home-by-child.ts';
import { withHome } from './home-directory.ts';
import type { HookStreams } from './hook-steps.ts';
import { refuseHostNamespaces } from './host-namespaces.ts';
import { type Caller, maySetGroups } from './id-mappings.ts';
import { isWithin } from './in-root.ts';
import { inheritedOpenFiles } from './inherited-limits.ts';
import type { InitFds, InitPlan } from './init-program.ts';
import { openMappedNamespace } from './mapped-namespace.ts';
import { planMasks } from './mask-plan.ts';
import { type MountPlan, type PlannedMount, planMounts } from './mount-plan.ts';

import { type NamespacePlan, planNamespaces } from './namespace-plan.ts';
import { availableCapabilities } from './own-capabilities.ts';
import { withListenFds } from './preserved-fds.ts';
import { nullStdio, openForChild, openHostProc, ownedStdio } from './process-fds.ts';
import type { Rollback } from './rollback.ts';
import { compileSeccomp } from './seccomp-filter.ts';
import { isInitialUserNamespace } from './user-namespace.ts';

/** fds that `create` opens before it plans. */
export type OpenedFds = Pick<
  InitFds,
  'report' | 'goOn' | 'startFifo' | 'startErrors' | 'console' | 'stdio' | 'cgroup' | 'cgroupTasks'
>;

/** The container's cgroup, and the hierarchies of this machine. */
export interface OwnCgroup {
  readonly host: CgroupHost;
  readonly manager: CgroupManager;
}

/**
 * Opens what the child needs of the host; all of it is closed by `rollback`. A process that may not
 * wait leaves the look into the container's /etc/passwd to the child.
 */
export function planInit(
  bundle: Bundle,
  request: CreateRequest & { readonly mayWait: boolean },
  cgroups: OwnCgroup,
  fds: OpenedFds,
  preserved: number,
  hookStreams: ReadonlyMap<string, HookStreams>,
  rollback: Rollback,
): InitPlan {
  const { spec } = bundle;
  const containerProcess = withProgramEnvironment(bundle.process);
  const linux = spec.linux ?? {};
  const namespaces = planNamespaces(linux.namespaces ?? []);
  const hasUser = namespaces.hasNewUser || namespaces.joined.some(({ type }) => type === 'user');
  const isRoot = (process.geteuid?.() ?? 0) === 0;
  const mounts = planMounts({
    mounts: spec.mounts ?? [],
    bundle: bundle.directory,
    rootfs: bundle.rootfs,
    hasNewCgroupNamespace: namespaces.unsharesCgroup,
  });
  const all = [...mounts.early, ...mounts.late];
  const fillsDevDirectory = fillsDev(all);
  const capabilities = availableCapabilities({ inUserNamespace: hasUser });
  const ownProcess = request.mayWait
    ? withHome(containerProcess, bundle.rootfs, all)
    : containerProcess;
  const home = HomeByChild.of(ownProcess);
  if (home !== undefined) rollback.use(home);
  const caller = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
  const idmaps = openIdMappings(all, linux, rollback);
  const copies = hasUser && isRoot ? copySources(bundle, mounts, rollback) : undefined;
  // In a user namespace the child may not map ids of the host's file systems; the runtime does it.
  if (copies !== undefined) mapCopies(copies.sources, idmaps, all);
  const idmapFds = copies === undefined ? idmaps : new Map<string, number>();
  return {
    id: request.id,
    spec,
    namespaces,
    isRoot,
    identity: {
      process: withListenFds(ownProcess, request.listenFds ?? 0),
      personality: linux.personality,
      memoryPolicy: linux.memoryPolicy,
      capabilities: planCapabilities(containerProcess.capabilities, capabilities.names),
      lastCapability: capabilities.last,
      maySetGroups: groupsIn(namespaces, linux, caller),
      seccomp: linux.seccomp === undefined ? undefined : compileSeccomp(linux.seccomp),
      parentSetsLimits: hasUser && isRoot,
      openFiles: inheritedOpenFiles(),
      ownedStdio: ownedStdio(fds.stdio, containerProcess.terminal === true),
      proc: openHostProc(rollback),
      home,
      preserved,
      report: fds.report,
      goOn: fds.goOn,
    },
    fds: {
      ...fds,
      namespaces: openNamespaces(spec, namespaces, rollback),
    },
    rootfs: {
      rootfs: bundle.rootfs,
      propagation: linux.rootfsPropagation,
      sharedParent: sharedParent(bundle),
      rootfsFd: copies?.rootfs,
    },
    usesPivotRoot: request.noPivot !== true,
    mounts,
    mountContext: {
      sourceFds: copies?.sources ?? new Map(),
      mountLabel: linux.mountLabel === '' ? undefined : linux.mountLabel,
      idmapFds,
    },
    cgroupView: cgroupView(cgroups, namespaces),
    nullStdio: fillsDevDirectory && containerProcess.terminal !== true ? nullStdio(fds.stdio) : [],
    devices: fillsDevDirectory ? planDevices(linux.devices ?? [], all) : [],
    mayMakeNodes: !hasUser && isInitialUserNamespace() && capabilities.names.has('CAP_MKNOD'),
    maskedPaths: planMasks(linux.maskedPaths ?? [], all),
    dev: fillsDevDirectory ? { hasKcore: existsSync('/proc/kcore') } : undefined,
    joinsKeyring: request.noNewKeyring !== true,
    hookStreams,
  };
}

function groupsIn(namespaces: NamespacePlan, linux: Linux, caller: Caller): MaySetGroups {
  if (namespaces.hasNewUser) return maySetGroups(linux, caller) ? 'yes' : 'no';
  return namespaces.joined.some(({ type }) => type === 'user') ? 'unknown' : 'yes';
}

function openNamespaces(
  spec: Spec,
  { joined }: NamespacePlan,
  rollback: Rollback,
): InitFds['namespaces'] {
  const opened = joined.map(({ type, path }) => ({
    type,
    path,
    fd: openForChild(path, `open ${type} namespace ${path}`, rollback),
  }));
  refuseHostNamespaces(spec, opened);
  return opened;
}

/** The mount that has the rootfs, where the root is to be shared: pivot_root wants it private. */
function sharedParent(bundle: Bundle): string | undefined {
  const propagation = bundle.spec.linux?.rootfsPropagation;
  if (propagation !== 'shared' && propagation !== 'rshared') return undefined;
  return readMountInfo()
    .map(({ mountPoint }) => mountPoint)
    .filter((mountPoint) => isWithin(bundle.rootfs, mountPoint))
    .sort((a, b) => a.length - b.length)
    .at(-1);
}

/**
 * In a user namespace root of the container may not reach the rootfs and the sources of bind mounts
 * (a directory above may be closed to it), so the runtime takes copies of these mounts.
 */
function copySources(
  bundle: Bundle,
  { early, late }: MountPlan,
  rollback: Rollback,
): { rootfs: number; sources: Map<string, number> } {
  const sources = new Map<string, number>();
  for (const { kind, property, source, options } of [...early, ...late]) {
    if (kind !== 'bind') continue;
    const recursive = options.bind !== 'bind';
    sources.set(property, rollback.use(copyMountTree(source, { recursive })).number);
  }
  const rootfs = rollback.use(copyMountTree(bundle.rootfs, { recursive: true })).number;
  return { rootfs, sources };
}

function cgroupView({ host, manager }: OwnCgroup, namespaces: NamespacePlan): CgroupView {
  return {
    isUnified: manager.layout === 'unified',
    paths: manager.paths,
    hasNewNamespace: namespaces.unsharesCgroup,
    hierarchies: host.hierarchies.filter(({ controllers }) => controllers[0] !== ''),
  };
}

/**
 * A user namespace for each id-mapped mount: with the mount's own mappings, or with those of the
 * container where it gives none.
 */
function openIdMappings(
  mounts: readonly PlannedMount[],
  linux: Linux,
  rollback: Rollback,
): Map<string, number> {
  const fds = new Map<string, number>();
  for (const { property, mount, options } of mounts) {
    const isMapped = (mount.uidMappings ?? []).length > 0 || options.idmap !== undefined;
    if (!isMapped) continue;
    const fd = openMappedNamespace(
      mount.uidMappings ?? linux.uidMappings ?? [],
      mount.gidMappings ?? linux.gidMappings ?? [],
      property,
    );
    rollback.always(() => closeSync(fd));
    fds.set(property, fd);
  }
  return fds;
}

function mapCopies(
  sources: ReadonlyMap<string, number>,
  idmaps: ReadonlyMap<string, number>,
  mounts: readonly PlannedMount[],
): void {
  if (idmaps.size === 0) return;
  const program = new SyscallProgram();
  for (const { property, options, source } of mounts) {
    const tree = sources.get(property);
    const userNamespaceFd = idmaps.get(property);
    if (tree === undefined || userNamespaceFd === undefined) continue;
    program.main.add(
      steps.setMountAttributes({
        directory: tree,
        change: { set: ['MOUNT_ATTR_IDMAP'], userNamespaceFd },
        recursive: options.idmap === 'ridmap',
      }),
      { label: `map ids of ${source} (${property})` },
    );
  }
  program.run()[Symbol.dispose]();
}
