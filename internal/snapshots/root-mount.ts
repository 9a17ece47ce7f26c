import { mkdirSync, realpathSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { type MountInfo, readMountInfo } from '../linux/mountinfo.ts';

/** Makes the directory of a snapshotter when absent, for root only, and tells what mount holds it. */
export function mountOfRoot(root: string): MountInfo {
  try {
    mkdirSync(root, { recursive: true, mode: 0o700 });
    const found = mountOf(realpathSync(root), readMountInfo());
    if (found !== undefined) return found;
  } catch (thrown) {
    throw TsError.from(thrown, `make directory ${root}`);
  }
  throw new TsError('Internal', `internal error: no mount holds ${root}`);
}

/** The mount that a resolved path is in: the deepest, and of several there the last. */
export function mountOf(path: string, mounts: readonly MountInfo[]): MountInfo | undefined {
  let best: MountInfo | undefined;
  for (const mount of mounts) {
    const { mountPoint } = mount;
    const prefix = mountPoint === '/' ? '/' : `${mountPoint}/`;
    if (path !== mountPoint && !path.startsWith(prefix)) continue;
    if (best === undefined || mountPoint.length >= best.mountPoint.length) best = mount;
  }
  return best;
}
