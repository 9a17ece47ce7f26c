import { type Container, Containers } from '../api/generated/containerd.services.containers.v1.ts';
import { Snapshots } from '../api/generated/containerd.services.snapshots.v1.ts';
import { TsError } from '../errors/index.ts';
import type { Client } from './client.ts';

/** Deletes a container's record, and its snapshot unless that is to stay. */
export async function deleteContainer(
  client: Client,
  { id, snapshotter, snapshotKey }: Container,
  keepsSnapshot: boolean,
): Promise<void> {
  if (snapshotKey !== '' && !keepsSnapshot) {
    try {
      await client.service(Snapshots).remove({ snapshotter, key: snapshotKey });
    } catch (thrown) {
      if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
    }
  }
  await client.service(Containers).delete({ id });
}
