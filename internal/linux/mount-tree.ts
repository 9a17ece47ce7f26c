import { AT_FDCWD } from './constants/file.ts';
import { combine } from './constants/flags.ts';
import { MountFlag, OpenTreeFlag } from './constants/mount.ts';
import { OwnedFd } from './fd.ts';
import { syscall } from './syscall.ts';

/** struct mount_attr: attr_set, attr_clr, propagation, userns_fd, eight bytes each. */
export const MOUNT_ATTR_BYTES = 32;
const PROPAGATION_OFFSET = 16;

/**
 * open_tree(2): a detached copy of the mount at a path, which a child in another user namespace can
 * attach although it could not reach the path.
 *
 * A copy of a shared mount (systemd shares all of them) would be shared with it: what the container
 * mounts there would appear on the host, and pivot_root(2) refuses it as a root. So the copy only
 * receives (mount_setattr(2), Linux 5.12), as mounts do that are copied with a user namespace's
 * mount namespace.
 */
export function copyMountTree(path: string, options: { recursive: boolean }): OwnedFd {
  const operation = () => `copy mount ${path}`;
  const flags = combine(OpenTreeFlag, [
    'OPEN_TREE_CLONE',
    'OPEN_TREE_CLOEXEC',
    ...(options.recursive ? (['AT_RECURSIVE'] as const) : []),
  ]);
  const tree = new OwnedFd(syscall(operation, 'open_tree', AT_FDCWD, path, flags));
  try {
    const attributes = Buffer.alloc(MOUNT_ATTR_BYTES);
    attributes.writeBigUInt64LE(BigInt(MountFlag.MS_SLAVE), PROPAGATION_OFFSET);
    const whole = combine(OpenTreeFlag, ['AT_EMPTY_PATH', 'AT_RECURSIVE']);
    syscall(operation, 'mount_setattr', tree.number, '', whole, attributes, MOUNT_ATTR_BYTES);
    return tree;
  } catch (thrown) {
    tree.close();
    throw thrown;
  }
}
