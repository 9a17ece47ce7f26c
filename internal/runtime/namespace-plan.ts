import type { Namespace, NamespaceType } from '../oci/index.ts';

/** How a container's namespaces come about. */
export interface NamespacePlan {
  /** Made by the clone of the container's process. */
  readonly cloned: readonly NamespaceType[];
  /** Joined by path. */
  readonly joined: readonly JoinedNamespace[];
  /**
   * Whether a process of its own has to join before the container's is cloned: for a pid namespace,
   * which only children enter; for a user namespace, which must own what is made after it; and where
   * a new user namespace would take away the right to join.
   */
  readonly needsJoiner: boolean;
  /** Made by the process itself, once it is in its cgroup. */
  readonly unsharesCgroup: boolean;
  /** Made by the process itself, once nothing depends on its clocks. */
  readonly unsharesTime: boolean;
  readonly hasNewUser: boolean;
  /**
   * Made by the process itself, once its ids are mapped: the message queues of an ipc namespace belong
   * to whom the maker is at that moment.
   */
  readonly unsharesIpc: boolean;
}

export interface JoinedNamespace {
  readonly type: NamespaceType;
  readonly path: string;
}

export function planNamespaces(namespaces: readonly Namespace[]): NamespacePlan {
  const created = new Set<NamespaceType>();
  const joined: JoinedNamespace[] = [];
  for (const { type, path } of namespaces) {
    if (path === undefined || path === '') created.add(type);
    else joined.push({ type, path });
  }
  const joins = (type: NamespaceType): boolean => joined.some((each) => each.type === type);
  const unsharesCgroup = created.delete('cgroup');
  const unsharesTime = created.delete('time');
  const hasNewUser = created.has('user');
  const unsharesIpc = hasNewUser && created.delete('ipc');
  return {
    cloned: [...created],
    joined,
    needsJoiner: joins('pid') || joins('user') || (hasNewUser && joined.length > 0),
    unsharesCgroup,
    unsharesTime,
    hasNewUser,
    unsharesIpc,
  };
}
