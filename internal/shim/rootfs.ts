import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mount } from '../api/generated/containerd.types.ts';
import { errnoNameOf, TsError } from '../errors/index.ts';
import {
  mount,
  parseMountInfo,
  splitIdMaps,
  unmountAll,
  withIdmappedLayers,
} from '../linux/index.ts';
import { compactLayers, MAX_MOUNT_DATA_BYTES, parseMountOptions } from './mount-options.ts';

/**
 * Mounts what the daemon asks for on a bundle's `rootfs`, in order; a mount's `target` is a path
 * below it. Nothing stays mounted when one fails.
 */
export function mountRootfs(rootfs: string, mounts: readonly Mount[]): void {
  if (mounts.length === 0) return;
  try {
    mkdirSync(rootfs, { mode: 0o711 });
  } catch (thrown) {
    if (errnoNameOf(thrown) !== 'EEXIST') throw TsError.from(thrown);
  }
  try {
    for (const one of mounts) mountOne(rootfs, one);
  } catch (thrown) {
    const error = TsError.from(thrown);
    try {
      unmountRootfs(rootfs);
    } catch (failure) {
      error.cleanup.push(TsError.from(failure));
    }
    throw error;
  }
}

function mountOne(rootfs: string, given: Mount): void {
  const { options, maps } = splitIdMaps(given.options);
  const request = { ...given, options: [...options] };
  if (maps === undefined) mountPlain(rootfs, request);
  else {
    withIdmappedLayers(options, maps, layersDirectory(rootfs), (mapped) =>
      mountPlain(rootfs, { ...request, options: [...mapped] }),
    );
  }
}

/** Where id-mapped layers are mounted for a moment: beside the root, which covers what is below it. */
const layersDirectory = (rootfs: string): string => `${rootfs}.layers`;

function mountPlain(rootfs: string, request: Mount): void {
  const target = targetOf(rootfs, request.target);
  const { flags, propagation, data } = parseMountOptions(request.options);
  const { source, type } = request;
  mountWithData({ source, target, type, flags, data });
  const isBind = flags.includes('MS_BIND');
  const attributes = flags.filter((flag) => flag !== 'MS_REC' && flag !== 'MS_BIND');
  if (isBind && attributes.length > 0) {
    // A bind mount takes the flags of its source; its own come with a second call.
    mount({ target, flags: ['MS_BIND', 'MS_REMOUNT', ...attributes] });
  }
  if (propagation.length > 0) mount({ target, flags: propagation });
}

function mountWithData(request: Parameters<typeof mount>[0] & { data: string }): void {
  const compact =
    Buffer.byteLength(request.data) > MAX_MOUNT_DATA_BYTES
      ? compactLayers(request.data)
      : undefined;
  if (compact === undefined) {
    mount(request);
    return;
  }
  // Nothing else runs between the two changes of directory: all three calls are synchronous.
  const before = process.cwd();
  process.chdir(compact.directory);
  try {
    mount({ ...request, data: compact.data });
  } finally {
    process.chdir(before);
  }
}

/** The daemon is trusted, but a target that leaves the bundle is a mistake worth a message. */
function targetOf(rootfs: string, target: string): string {
  const path = join(rootfs, target);
  if (path === rootfs || path === `${rootfs}/` || path.startsWith(`${rootfs}/`)) return path;
  throw new TsError('InvalidArgument', `mount target ${target}: outside of ${rootfs}`);
}

/** Unmounts everything at and below `rootfs`, the deepest first, and what a kill left beside it. Nothing there is success. */
export function unmountRootfs(rootfs: string): void {
  for (const point of mountPointsBelow(rootfs).reverse()) unmountAll(point);
}

/** On a machine with thousands of mounts only the few lines that may matter are parsed. */
function mountPointsBelow(rootfs: string): string[] {
  const path = escaped(rootfs);
  const lines = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const candidates = lines.filter((line) => line.includes(path));
  return parseMountInfo(candidates.join('\n'))
    .map(({ mountPoint }) => mountPoint)
    .filter((point) => {
      const places = [`${rootfs}/`, `${layersDirectory(rootfs)}/`];
      return point === rootfs || places.some((place) => point.startsWith(place));
    });
}

/** A path as mountinfo spells it (man 5 proc_pid_mountinfo). */
function escaped(path: string): string {
  return path.replace(/[ \t\n\\#]/g, (character) => {
    return `\\${character.charCodeAt(0).toString(8).padStart(3, '0')}`;
  });
}
