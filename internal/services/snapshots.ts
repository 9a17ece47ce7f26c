import {
  type Info,
  Kind,
  type Snapshots,
} from '../api/generated/containerd.services.snapshots.v1.ts';
import type { Init } from '../api/init.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { timestampFromNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { SnapshotInfo, SnapshotKind, Snapshotter } from '../snapshots/snapshotter.ts';
import type { GrpcContext } from './context.ts';
import { mountMessage } from './mount-message.ts';
import { required } from './request.ts';

/** Records in one message of a list. */
const LIST_CHUNK = 100;

const KINDS: Readonly<Record<SnapshotKind, Kind>> = {
  view: Kind.VIEW,
  active: Kind.ACTIVE,
  committed: Kind.COMMITTED,
};

/** The snapshots service over the snapshotters of the daemon by name. */
export function snapshotsService(
  snapshotters: ReadonlyMap<string, Snapshotter>,
): ServiceHandlers<typeof Snapshots, GrpcContext> {
  const of = (name: string): Snapshotter => snapshotterOf(snapshotters, name);
  return {
    async prepare({ snapshotter, key, parent, labels }, { scope }) {
      const mounts = await of(snapshotter).prepare(scope, key, parent, labels);
      return { mounts: mounts.map(mountMessage) };
    },
    async view({ snapshotter, key, parent, labels }, { scope }) {
      const mounts = await of(snapshotter).view(scope, key, parent, labels);
      return { mounts: mounts.map(mountMessage) };
    },
    async mounts({ snapshotter, key }, { scope }) {
      const mounts = await of(snapshotter).mounts(scope, key);
      return { mounts: mounts.map(mountMessage) };
    },
    async commit({ snapshotter, name, key, labels, parent }, { scope }) {
      const store = of(snapshotter);
      // To commit onto another parent is for snapshotters with the capability `rebase`.
      if (parent !== '' && parent !== store.stat(scope, key).parent) {
        throw new TsError('NotImplemented', `commit snapshot ${key} with the new parent ${parent}`);
      }
      await store.commit(scope, name, key, labels);
      return {};
    },
    async remove({ snapshotter, key }, { scope }) {
      await of(snapshotter).remove(scope, key);
      return {};
    },
    async stat({ snapshotter, key }, { scope }) {
      return { info: infoMessage(of(snapshotter).stat(scope, key)) };
    },
    async update({ snapshotter, info, updateMask }, { scope }) {
      const { name, labels } = required(info, 'info');
      const paths = updateMask?.paths ?? [];
      return { info: infoMessage(of(snapshotter).update(scope, name, labels, paths)) };
    },
    async *list({ snapshotter, filters }, { scope }) {
      const infos = of(snapshotter).list(scope, filters).map(infoMessage);
      for (let i = 0; i < infos.length; i += LIST_CHUNK) {
        yield { info: infos.slice(i, i + LIST_CHUNK) };
      }
    },
    async usage({ snapshotter, key }, { scope }) {
      const { sizeBytes, inodes } = await of(snapshotter).usage(scope, key);
      return { size: sizeBytes, inodes };
    },
    async cleanup({ snapshotter }, { scope }) {
      await of(snapshotter).cleanup(scope);
      return {};
    },
  };
}

/** The snapshotter of a request. An empty name is InvalidArgument, an unknown one NotFound. */
export function snapshotterOf(
  snapshotters: ReadonlyMap<string, Snapshotter>,
  name: string,
): Snapshotter {
  if (name === '') {
    throw new TsError('InvalidArgument', 'snapshotter argument missing: invalid argument');
  }
  const snapshotter = snapshotters.get(name);
  if (snapshotter === undefined) {
    throw new TsError('InvalidArgument', `snapshotter not loaded: ${name}: invalid argument`, {
      advice: `use one of ${[...snapshotters.keys()].join(', ')}`,
    });
  }
  return snapshotter;
}

function infoMessage(info: SnapshotInfo): Init<Info> {
  return {
    name: info.name,
    parent: info.parent,
    kind: KINDS[info.kind],
    createdAt: timestampFromNs(info.createdAt),
    updatedAt: timestampFromNs(info.updatedAt),
    labels: info.labels,
  };
}
