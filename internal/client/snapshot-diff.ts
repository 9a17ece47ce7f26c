import { Diff, type DiffRequest } from '../api/generated/containerd.services.diff.v1.ts';
import { Kind, Snapshots } from '../api/generated/containerd.services.snapshots.v1.ts';
import type { Descriptor, Mount } from '../api/generated/containerd.types.ts';
import type { Init } from '../api/init.ts';
import type { CallOptions } from '../api/service.ts';
import { TsError } from '../errors/index.ts';
import type { Client } from './client.ts';

/** Two snapshots; without the second one the first is compared to its parent. */
export interface SnapshotPair {
  readonly snapshotter: string;
  readonly key: string;
  readonly other?: string | undefined;
}

/** Makes the layer of what differs between two snapshots; `options` hold a lease, which keeps it. */
export async function diffSnapshots(
  client: Client,
  { snapshotter, key, other }: SnapshotPair,
  request: Pick<Init<DiffRequest>, 'mediaType' | 'ref' | 'labels'>,
  options: CallOptions,
): Promise<Descriptor> {
  const views: string[] = [];
  const mountsOf = (each: string) => readOnlyMounts(client, snapshotter, each, options, views);
  try {
    const { info } = await client.service(Snapshots).stat({ snapshotter, key });
    const lower = other === undefined ? (info?.parent ?? '') : key;
    const left = lower === '' ? [] : await mountsOf(lower);
    const right = await mountsOf(other ?? key);
    const { diff } = await client.service(Diff).diff({ left, right, ...request }, options);
    if (diff !== undefined) return diff;
    throw new TsError('Internal', `diff of ${key}: the daemon answers without a descriptor`);
  } finally {
    for (const view of views) await client.service(Snapshots).remove({ snapshotter, key: view });
  }
}

/** The mounts of an active snapshot, or of a view of a committed one, whose key is added to `views`. */
async function readOnlyMounts(
  client: Client,
  snapshotter: string,
  key: string,
  options: CallOptions,
  views: string[],
): Promise<Mount[]> {
  const snapshots = client.service(Snapshots);
  const { info } = await snapshots.stat({ snapshotter, key });
  if (info?.kind !== Kind.COMMITTED) return (await snapshots.mounts({ snapshotter, key })).mounts;
  const view = `${key}-view-${process.pid}-${views.length}`;
  const { mounts } = await snapshots.view({ snapshotter, key: view, parent: key }, options);
  views.push(view);
  return mounts;
}
