import { TsError } from '../errors/index.ts';
import type { LayerTreeOptions } from './layer-tree.ts';
import type { Mount } from './snapshotter.ts';

/** Value of an option `key=VALUE` of a mount. */
function option(mount: Mount, key: string): string | undefined {
  const found = mount.options.find((text) => text.startsWith(`${key}=`));
  return found?.slice(key.length + 1);
}

/**
 * The directory that a layer for `mounts` can be written to without mounting them: an overlay's
 * upper directory or the source of a bind mount; undefined when they have to be mounted. Read-only
 * mounts are FailedPrecondition.
 */
export function layerTarget(
  mounts: readonly Mount[],
  hasUserXattrs: boolean,
): LayerTreeOptions | undefined {
  const [mount, ...others] = mounts;
  if (mount === undefined || others.length > 0) return undefined;
  const upper = option(mount, 'upperdir');
  const isOverlay = mount.type === 'overlay';
  if ((isOverlay && upper === undefined) || mount.options.includes('ro')) {
    throw new TsError('FailedPrecondition', `write to ${mount.source}: it is mounted read-only`, {
      advice: 'apply layers to an active snapshot, not to a view',
    });
  }
  if (isOverlay && upper !== undefined) {
    const lowers = option(mount, 'lowerdir')?.split(':') ?? [];
    return { root: upper, kind: 'overlay', lowers, hasUserXattrs };
  }
  if (!isBind(mount)) return undefined;
  return { root: mount.source, kind: 'plain', lowers: [], hasUserXattrs };
}

/**
 * The upper directory of `upper` when it is an overlay whose lower layers are exactly what `lower`
 * shows: then it holds the changes and nothing has to be compared.
 */
export function overlayLayers(
  lower: readonly Mount[],
  upper: readonly Mount[],
): { upper: string; lowers: string[] } | undefined {
  const [over] = upper;
  if (upper.length !== 1 || over?.type !== 'overlay') return undefined;
  const upperDir = option(over, 'upperdir');
  const lowers = option(over, 'lowerdir')?.split(':');
  if (upperDir === undefined || lowers === undefined) return undefined;
  const base = lower.length === 1 && lower[0] !== undefined ? baseLayers(lower[0]) : undefined;
  return base?.join(':') === lowers.join(':') ? { upper: upperDir, lowers } : undefined;
}

/** The layers that a read-only mount shows, top first. */
function baseLayers(mount: Mount): string[] | undefined {
  if (mount.type === 'overlay' && option(mount, 'upperdir') === undefined) {
    return option(mount, 'lowerdir')?.split(':');
  }
  return isBind(mount) && mount.options.includes('ro') ? [mount.source] : undefined;
}

function isBind(mount: Mount): boolean {
  return mount.type === 'bind' || mount.options.includes('bind') || mount.options.includes('rbind');
}
