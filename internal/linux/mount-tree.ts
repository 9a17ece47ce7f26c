import { AT_FDCWD } from './constants/file.ts';
import { combine } from './constants/flags.ts';
import { OpenTreeFlag } from './constants/mount.ts';
import { OwnedFd } from './fd.ts';
import { syscall } from './syscall.ts';

/**
 * open_tree(2): a detached copy of the mount at a path, which a child in another user namespace can
 * attach although it could not reach the path.
 */
export function copyMountTree(path: string, options: { recursive: boolean }): OwnedFd {
  const flags = combine(OpenTreeFlag, [
    'OPEN_TREE_CLONE',
    'OPEN_TREE_CLOEXEC',
    ...(options.recursive ? (['AT_RECURSIVE'] as const) : []),
  ]);
  return new OwnedFd(syscall(() => `copy mount ${path}`, 'open_tree', AT_FDCWD, path, flags));
}
