import { openSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { OpenFlag } from '../linux/constants/file.ts';
import { closeFd, statEntry } from '../linux/entry.ts';
import type { SnapshotUsage } from './snapshotter.ts';
import { walkTree } from './tree-walk.ts';

/** Space on disk and inodes of a directory with all in it; hard links count once. */
export function treeUsage(path: string): SnapshotUsage {
  const rootFd = openSync(path, OpenFlag.O_DIRECTORY);
  try {
    const root = statEntry(rootFd, '');
    if (typeof root === 'number') throw TsError.ofErrno(-root, `stat ${path}`);
    let blocks = root.blocks512;
    let inodes = 1;
    const linked = new Set<bigint>();
    walkTree(rootFd, ({ stat }) => {
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
