import { NamespaceMode, type NamespaceOption } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import type { IdMapping, Namespace } from '../oci/index.ts';

/** Namespaces of a pod that its containers join. */
export interface PodNamespaces {
  /** Pid of the pause process, which holds ipc and uts (and pid, if shared). */
  readonly pid: number;
  /** File of the network namespace; '' for the host's. */
  readonly network: string;
  readonly options: NamespaceOption | undefined;
}

/** Namespaces of the pause process. `network` is the file of the network namespace; '' for the host's. */
export function sandboxNamespaces(
  options: NamespaceOption | undefined,
  network: string,
): Namespace[] {
  const isHost = (mode: NamespaceMode | undefined): boolean => mode === NamespaceMode.NODE;
  const isUserns = hasUserNamespace(options);
  return [
    { type: 'mount' },
    ...(isHost(options?.pid) ? [] : [{ type: 'pid' } as const]),
    ...(isHost(options?.ipc) ? [] : [{ type: 'ipc' } as const]),
    // A host's hostname goes with its network, as containerd has it.
    ...(isHost(options?.network) ? [] : [{ type: 'uts' } as const]),
    // That of a pod with a user namespace must belong to it, and so be made with it.
    ...(network === ''
      ? []
      : [
          isUserns ? ({ type: 'network' } as const) : ({ type: 'network', path: network } as const),
        ]),
    ...(isUserns ? [{ type: 'user' } as const] : []),
  ];
}

/** Namespaces of a container of the pod. `targetPid` is the process of the container that TARGET names. */
export function containerNamespaces(
  pod: PodNamespaces,
  own: NamespaceOption | undefined,
  options: { readonly targetPid: number | undefined; readonly hasCgroupNamespace: boolean },
): Namespace[] {
  const join = (type: 'pid' | 'ipc' | 'uts' | 'network' | 'user', pid = pod.pid): Namespace => ({
    type,
    path: `/proc/${pid}/ns/${type === 'network' ? 'net' : type}`,
  });
  const isHostNetwork = pod.network === '';
  return [
    { type: 'mount' },
    ...pidNamespace(own, options.targetPid, join),
    ...(own?.ipc === NamespaceMode.NODE ? [] : [join('ipc')]),
    ...(isHostNetwork ? [] : [join('uts')]),
    ...(isHostNetwork ? [] : [{ type: 'network', path: pod.network } as const]),
    ...(hasUserNamespace(pod.options) ? [join('user')] : []),
    ...(options.hasCgroupNamespace ? [{ type: 'cgroup' } as const] : []),
  ];
}

function pidNamespace(
  own: NamespaceOption | undefined,
  targetPid: number | undefined,
  join: (type: 'pid', pid?: number) => Namespace,
): Namespace[] {
  switch (own?.pid) {
    case NamespaceMode.NODE:
      return [];
    case NamespaceMode.CONTAINER:
      return [{ type: 'pid' }];
    case NamespaceMode.TARGET:
      if (targetPid !== undefined) return [join('pid', targetPid)];
      throw new TsError('InvalidArgument', `target container "${own.targetId}" is not running`);
    default:
      return [join('pid')];
  }
}

/** Whether a pod has a user namespace. Throws InvalidArgument for a mode that a pod cannot have. */
export function hasUserNamespace(options: NamespaceOption | undefined): boolean {
  switch (options?.usernsOptions?.mode) {
    case undefined:
    case NamespaceMode.NODE:
      return false;
    case NamespaceMode.POD:
      return true;
    default:
      throw new TsError(
        'InvalidArgument',
        `userns_options.mode: ${options?.usernsOptions?.mode} is neither POD (0) nor NODE (2)`,
      );
  }
}

/** The id mappings of a pod's user namespace; none without one. Throws InvalidArgument unless it is one range from 0. */
export function userMappings(options: NamespaceOption | undefined): {
  uidMappings: IdMapping[];
  gidMappings: IdMapping[];
} {
  const userns = options?.usernsOptions;
  if (userns === undefined || !hasUserNamespace(options))
    return { uidMappings: [], gidMappings: [] };
  const map = (field: 'uids' | 'gids'): IdMapping[] => {
    const [only, ...more] = userns[field];
    const refuse = (what: string) =>
      new TsError('InvalidArgument', `userns_options.${field}: ${what}`);
    if (only === undefined) throw refuse('no mapping');
    if (more.length > 0) throw refuse(`${more.length + 1} mappings, one is supported`);
    const { containerId, hostId, length } = only;
    if (containerId !== 0) throw refuse(`begins at ${containerId}, not at 0: nobody would be root`);
    if (length === 0) throw refuse('length 0');
    return [{ containerID: containerId, hostID: hostId, size: length }];
  };
  return { uidMappings: map('uids'), gidMappings: map('gids') };
}

/**
 * Labels that ask a snapshotter for a root file system whose owners are those of the pod's user namespace; none without
 * one. Throws FailedPrecondition for a snapshotter that cannot.
 */
export function snapshotLabels(
  options: NamespaceOption | undefined,
  snapshotter: string,
): (readonly [string, string])[] {
  const { uidMappings, gidMappings } = userMappings(options);
  if (uidMappings.length === 0) return [];
  if (snapshotter !== 'overlayfs') {
    throw new TsError(
      'FailedPrecondition',
      `user namespace: snapshotter ${snapshotter} cannot map ids`,
      { advice: 'use the snapshotter overlayfs for this runtime' },
    );
  }
  const text = (mappings: readonly IdMapping[]): string =>
    mappings.map(({ containerID, hostID, size }) => `${containerID}:${hostID}:${size}`).join(',');
  return [
    ['containerd.io/snapshot/uidmapping', text(uidMappings)],
    ['containerd.io/snapshot/gidmapping', text(gidMappings)],
  ];
}
