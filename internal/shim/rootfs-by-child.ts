/**
 * Mounts and unmounts root file systems whose parts may never answer (see {@link MountTable}): a
 * child in the shim's own mount namespace does it. When it hangs, the request is given up, not the
 * shim.
 */
import type { Mount } from '../api/generated/containerd.types.ts';
import { TsError } from '../errors/index.ts';
import { type Operation, runInChild, steps } from '../linux/index.ts';
import { makeRootfs, mountPointsBelow, planRootfs } from './rootfs.ts';

/** As mountRootfs. */
export function* mountRootfsByChild(rootfs: string, mounts: readonly Mount[]): Operation<void> {
  makeRootfs(rootfs);
  try {
    yield* runInChild('mounter', (child) => {
      for (const { request, directory } of planRootfs(rootfs, mounts)) {
        if (directory !== undefined) child.add(steps.changeDirectory(directory));
        const { source = null, target, type = null, flags = [], data = null } = request;
        const object = type ?? source;
        const label = object === null ? `change mount ${target}` : `mount ${object} on ${target}`;
        child.add(steps.mount({ source, target, type, flags, data }), { label });
      }
    });
  } catch (thrown) {
    const error = TsError.from(thrown);
    try {
      yield* unmountRootfsByChild(rootfs);
    } catch (failure) {
      error.cleanup.push(TsError.from(failure));
    }
    throw error;
  }
}

/** As unmountRootfs: the end of a mount may have to wait for the server that has its files. */
export function* unmountRootfsByChild(rootfs: string): Operation<void> {
  const points = mountPointsBelow(rootfs).reverse();
  if (points.length === 0) return;
  yield* runInChild('mounter', (child) => {
    for (const point of points) {
      child.add(steps.unmount(point, ['MNT_DETACH', 'UMOUNT_NOFOLLOW']), { tolerate: ['EINVAL'] });
    }
  });
}
