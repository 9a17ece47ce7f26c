import { openSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import { closeFd, type EntryStat, openInRoot, statEntry } from '../linux/entry.ts';
import { isDirectory } from './file-kind.ts';
import type { SnapshotUsage } from './snapshotter.ts';
import { walkTree } from './tree-walk.ts';

/** Space on disk and inodes of a directory with all in it; hard links count once. */
export function treeUsage(path: string): SnapshotUsage {
  return usageOf(path, () => true);
}

/**
 * Space on disk and inodes of what differs in `path` from `base`, of which it was made as a snapshot
 * of the file system: what nobody has touched since has its inode number and its time of change. As
 * with containerd a directory does not count for what is in it.
 */
export function changedUsage(path: string, base: string): SnapshotUsage {
  const baseFd = openSync(base, OpenFlag.O_DIRECTORY);
  try {
    return usageOf(path, (path, stat) => {
      const old = statInRoot(baseFd, path);
      if (old?.inode !== stat.inode) return true;
      return !isDirectory(stat) && old.ctimeNs !== stat.ctimeNs;
    });
  } finally {
    closeFd(baseFd);
  }
}

/** Attributes of what a path of a walk is in another tree, where links may stand in its way. */
function statInRoot(rootFd: number, path: string): EntryStat | undefined {
  const name = path === '' ? '.' : Buffer.from(path, 'latin1');
  const fd = openInRoot(rootFd, name, OpenFlag.O_PATH | OpenFlag.O_NOFOLLOW);
  if (fd < 0) return undefined;
  try {
    const stat = statEntry(fd, '');
    return typeof stat === 'number' ? undefined : stat;
  } finally {
    closeFd(fd);
  }
}

function usageOf(path: string, counts: (path: string, stat: EntryStat) => boolean): SnapshotUsage {
  const rootFd = openSync(path, OpenFlag.O_DIRECTORY);
  try {
    const root = statEntry(rootFd, '');
    if (typeof root === 'number') throw TsError.ofErrno(-root, `stat ${path}`);
    const isCounted = counts('', root);
    let blocks = isCounted ? root.blocks512 : 0;
    let inodes = isCounted ? 1 : 0;
    const linked = new Set<bigint>();
    walkTree(rootFd, ({ path, stat }) => {
      if (!counts(path, stat)) return;
      if (stat.links > 1) {
        if (linked.has(stat.inode)) return;
        linked.add(stat.inode);
      }
      blocks += stat.blocks512;
      inodes++;
    });
    return { sizeBytes: BigInt(blocks) * 512n, inodes: BigInt(inodes) };
  } finally {
    closeFd(rootFd);
  }
}
