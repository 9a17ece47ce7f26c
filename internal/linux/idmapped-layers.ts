/**
 * Layers of an image under other ids, for pods with a user namespace: overlayfs takes id-mapped mounts as lower
 * directories (Linux 5.19), so that nothing is copied and no owner is changed. The daemon asks for it as containerd does,
 * by the options `uidmap=INSIDE:OUTSIDE:COUNT` and `gidmap=…` of an overlay mount; none of them is for the kernel.
 */
import { mkdirSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import { AT_FDCWD } from './constants/file.ts';
import { combine } from './constants/flags.ts';
import { MountAttribute, MoveMountFlag, OpenTreeFlag } from './constants/mount.ts';
import type { OwnedFd } from './fd.ts';
import { unmountAll } from './mount.ts';
import { copyMountTree, MOUNT_ATTR_BYTES } from './mount-tree.ts';
import { syscall } from './syscall.ts';
import { type IdMaps, openUserNamespace } from './user-namespace.ts';

/** Options without the mappings, and these. */
export interface SplitOptions {
  readonly options: readonly string[];
  readonly maps: IdMaps | undefined;
}

const LOWER = 'lowerdir=';

/** Takes the mappings out of a mount's options. Throws InvalidArgument when one is no mapping or the other is missing. */
export function splitIdMaps(options: readonly string[]): SplitOptions {
  const value = (name: string): string | undefined =>
    options.find((option) => option.startsWith(name))?.slice(name.length);
  const [uids, gids] = [value('uidmap='), value('gidmap=')];
  if (uids === undefined && gids === undefined) return { options, maps: undefined };
  return {
    options: options.filter((option) => !/^[ug]idmap=/.test(option)),
    maps: { uids: mapOf('uidmap', uids), gids: mapOf('gidmap', gids) },
  };
}

function mapOf(name: string, value = ''): string {
  const ranges = value.split(',');
  if (!ranges.every((range) => /^\d+:\d+:\d+$/.test(range))) {
    throw new TsError('InvalidArgument', `mount option ${name}=${value}: not INSIDE:OUTSIDE:COUNT`);
  }
  return ranges.map((range) => `${range.replaceAll(':', ' ')}\n`).join('');
}

/**
 * Calls `mount` with the options of an overlay whose lower directories are id-mapped: copies of their mounts, in
 * directories below `scratch` for as long as the call lasts. The overlay holds on to them by itself.
 */
export function withIdmappedLayers(
  options: readonly string[],
  maps: IdMaps,
  scratch: string,
  mount: (options: readonly string[]) => void,
): void {
  const lower = options.find((option) => option.startsWith(LOWER));
  if (lower === undefined) {
    throw new TsError('InvalidArgument', `mount with id mappings: no ${LOWER}`);
  }
  const layers = lower.slice(LOWER.length).split(':');
  const copies = layers.map((_, index) => join(scratch, String(index)));
  mkdirSync(scratch, { mode: 0o700 });
  try {
    using namespace = openUserNamespace(maps);
    for (const [index, copy] of copies.entries()) {
      mkdirSync(copy, { mode: 0o700 });
      mountMapped(layers[index] ?? '', copy, namespace);
    }
    mount(options.map((option) => (option === lower ? `${LOWER}${copies.join(':')}` : option)));
  } finally {
    for (const copy of copies) {
      unmountAll(copy);
      removeDirectory(copy);
    }
    removeDirectory(scratch);
  }
}

function removeDirectory(path: string): void {
  try {
    rmdirSync(path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'ENOENT') throw TsError.from(thrown);
  }
}

function mountMapped(source: string, target: string, namespace: OwnedFd): void {
  const operation = () => `mount ${source} with id mappings`;
  using tree = copyMountTree(source, { recursive: false });
  const attributes = Buffer.alloc(MOUNT_ATTR_BYTES);
  attributes.writeBigUInt64LE(BigInt(MountAttribute.MOUNT_ATTR_IDMAP), 0);
  attributes.writeBigUInt64LE(BigInt(namespace.number), MOUNT_ATTR_BYTES - 8);
  const empty = combine(OpenTreeFlag, ['AT_EMPTY_PATH']);
  syscall(operation, 'mount_setattr', tree.number, '', empty, attributes, MOUNT_ATTR_BYTES);
  const flags = combine(MoveMountFlag, ['MOVE_MOUNT_F_EMPTY_PATH']);
  syscall(operation, 'move_mount', tree.number, '', AT_FDCWD, target, flags);
}
