/**
 * Snapshots that another process keeps, behind the snapshots service (`proxy_plugins` of the
 * configuration): stargz, nydus and the like. They know a snapshot by a name of ours, made from its
 * number; the names, parents and labels that clients see are in our database.
 *
 * A remote snapshotter need not be given a layer: told by the label `containerd.io/snapshot.ref`
 * what the snapshot will be committed as, it may commit it at once and answer AlreadyExists
 * (containerd docs/remote-snapshotter.md).
 */
import { TsError } from '../errors/index.ts';
import type { Labels } from '../metadata/scope.ts';
import { ProxyClient } from './proxy-client.ts';
import { type DriverSnapshot, SNAPSHOT_REF, type SnapshotDriver } from './snapshot-driver.ts';
import type { Mount, SnapshotUsage } from './snapshotter.ts';

const NAME = /^tscontainerd-(?:active|committed)-([0-9]+)$/;
/** Their namespaces are none of our clients': the numbers are unique over all of those. */
const NAMESPACE = 'default';

export class ProxyDriver implements SnapshotDriver {
  readonly name: string;
  readonly root: string;
  readonly isRemote = true;
  readonly #client: ProxyClient;

  /** `address` is the socket of the other process. */
  constructor(name: string, address: string) {
    this.name = name;
    this.root = address;
    this.#client = new ProxyClient(name, address);
  }

  async create(snapshot: DriverSnapshot, signal?: AbortSignal): Promise<'made' | 'committed'> {
    const { id, kind, parents, labels = new Map() } = snapshot;
    const isTargeted = kind === 'active' && labels.has(SNAPSHOT_REF);
    const request = {
      snapshotter: this.name,
      key: active(id),
      parent: parentName(parents),
      labels: isTargeted ? withTarget(labels, id) : labels,
    };
    try {
      await this.#client.call(kind === 'view' ? 'view' : 'prepare', request, NAMESPACE, signal);
      return 'made';
    } catch (error) {
      const isThere = error instanceof TsError && error.kind === 'AlreadyExists';
      if (isThere && isTargeted && (await this.#hasCommitted(id))) return 'committed';
      throw error;
    }
  }

  async commit(id: bigint, labels: Labels): Promise<void> {
    const request = { snapshotter: this.name, name: committed(id), key: active(id) };
    await this.#client.call('commit', { ...request, labels: withTarget(labels, id) }, NAMESPACE);
  }

  async mounts({ id }: DriverSnapshot): Promise<Mount[]> {
    const request = { snapshotter: this.name, key: active(id) };
    const { mounts } = await this.#client.call('mounts', request, NAMESPACE);
    return mounts.map(({ type, source, target, options }) => ({ type, source, target, options }));
  }

  async usage({ id }: DriverSnapshot): Promise<SnapshotUsage> {
    const key = (await this.#hasCommitted(id)) ? committed(id) : active(id);
    const usage = await this.#client.call('usage', { snapshotter: this.name, key }, NAMESPACE);
    return { sizeBytes: usage.size, inodes: usage.inodes };
  }

  async remove(id: bigint): Promise<void> {
    for (const key of [active(id), committed(id)]) {
      try {
        await this.#client.call('remove', { snapshotter: this.name, key }, NAMESPACE);
      } catch (error) {
        if (!(error instanceof TsError) || error.kind !== 'NotFound') throw error;
      }
    }
  }

  /** The youngest first: children go before their parents. */
  async ids(): Promise<bigint[]> {
    const names = await this.#client.names(NAMESPACE);
    const ids = names.flatMap((name) => {
      const id = NAME.exec(name)?.[1];
      return id === undefined ? [] : [BigInt(id)];
    });
    return ids.sort((a, b) => (a < b ? 1 : a > b ? -1 : 0));
  }

  close(): void {
    this.#client.close();
  }

  async #hasCommitted(id: bigint): Promise<boolean> {
    try {
      const request = { snapshotter: this.name, key: committed(id) };
      await this.#client.call('stat', request, NAMESPACE);
      return true;
    } catch (error) {
      if (error instanceof TsError && error.kind === 'NotFound') return false;
      throw error;
    }
  }
}

function active(id: bigint): string {
  return `tscontainerd-active-${id}`;
}

function committed(id: bigint): string {
  return `tscontainerd-committed-${id}`;
}

function parentName([parent]: readonly bigint[]): string {
  return parent === undefined ? '' : committed(parent);
}

/** The labels with the name that the snapshot has over there once it is committed. */
function withTarget(labels: Labels, id: bigint): Labels {
  return labels.has(SNAPSHOT_REF) ? new Map([...labels, [SNAPSHOT_REF, committed(id)]]) : labels;
}
