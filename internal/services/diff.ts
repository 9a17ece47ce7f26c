import type { Diff } from '../api/generated/containerd.services.diff.v1.ts';
import { Any } from '../api/generated/google.protobuf.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { timestampToNs } from '../api/time.ts';
import type { Differ } from '../snapshots/differ.ts';
import type { GrpcContext } from './context.ts';
import { descriptorMessage, descriptorOf } from './descriptor-message.ts';
import { mountOf } from './mount-message.ts';
import { required } from './request.ts';

/** The diff service: layers to snapshots and back. `isSynced`: layers are on the disk also when a client does not ask. */
export function diffService(
  differ: Differ,
  isSynced = false,
): ServiceHandlers<typeof Diff, GrpcContext> {
  return {
    async apply({ diff, mounts, syncFs, payloads }, { scope, signal }) {
      const layer = descriptorOf(required(diff, 'diff'));
      const applied = await differ.apply({ ...scope, signal }, layer, mounts.map(mountOf), {
        isSynced: isSynced || syncFs,
        payloads: new Map([...payloads].map(([id, payload]) => [id, Any.encode(payload)])),
      });
      return { applied: descriptorMessage(applied) };
    },
    async diff(request, { scope, signal }) {
      const { left, right, mediaType, ref, labels, sourceDateEpoch } = request;
      const diff = await differ.diff({ ...scope, signal }, left.map(mountOf), right.map(mountOf), {
        mediaType,
        ref,
        labels,
        sourceDateEpoch: sourceDateEpoch && timestampToNs(sourceDateEpoch),
      });
      return { diff: descriptorMessage(diff) };
    },
  };
}
