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
    ...(network === '' ? [] : [{ type: 'network', path: network } as const]),
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

export function hasUserNamespace(options: NamespaceOption | undefined): boolean {
  return options?.usernsOptions?.mode === NamespaceMode.POD;
}

/** The id mappings of a pod's user namespace; none without one. Throws InvalidArgument for what the kernel would refuse. */
export function userMappings(options: NamespaceOption | undefined): {
  uidMappings: IdMapping[];
  gidMappings: IdMapping[];
} {
  const userns = options?.usernsOptions;
  if (userns === undefined || !hasUserNamespace(options))
    return { uidMappings: [], gidMappings: [] };
  const map = (field: 'uids' | 'gids'): IdMapping[] => {
    const given = userns[field];
    if (given.length === 0)
      throw new TsError('InvalidArgument', `userns_options.${field}: no mapping`);
    return given.map(({ containerId, hostId, length }) => {
      if (length === 0) throw new TsError('InvalidArgument', `userns_options.${field}: length 0`);
      return { containerID: containerId, hostID: hostId, size: length };
    });
  };
  return { uidMappings: map('uids'), gidMappings: map('gids') };
}
