import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Mount } from '../api/generated/containerd.types.ts';
import { errnoNameOf, TsError } from '../errors/index.ts';
import {
  type MountRequest,
  mount,
  parseMountInfo,
  splitIdMaps,
  unmountAll,
  withIdmappedLayers,
} from '../linux/index.ts';
import { compactLayers, MAX_MOUNT_DATA_BYTES, parseMountOptions } from './mount-options.ts';

/** One call of mount(2). */
export interface MountCall {
  readonly request: MountRequest;
  /** The working directory that its data are relative to. */
  readonly directory?: string;
}

/**
 * The calls that mount what the daemon asks for, in order, for somebody else to make them. Throws
 * InvalidArgument for layers that are to be id-mapped: each needs a mount of its own before.
 */
export function planRootfs(rootfs: string, mounts: readonly Mount[]): MountCall[] {
  return mounts.flatMap((request) => {
    if (splitIdMaps(request.options).maps === undefined) return planMount(rootfs, request);
    throw new TsError('InvalidArgument', `mount ${request.type} on ${rootfs}: id-mapped layers`, {
      code: 'TS_IDMAPPED_REMOTE_LAYERS',
      advice: 'keep the layers of pods with a user namespace on a disk of this machine',
    });
  });
}

/**
 * Mounts what the daemon asks for on a bundle's `rootfs`, in order; a mount's `target` is a path
 * below it. Nothing stays mounted when one fails.
 */
export function mountRootfs(rootfs: string, mounts: readonly Mount[]): void {
  if (mounts.length === 0) return;
  makeRootfs(rootfs);
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

/** Makes the directory that the root file system is mounted on. */
export function makeRootfs(rootfs: string): void {
  try {
    mkdirSync(rootfs, { mode: 0o711 });
  } catch (thrown) {
    if (errnoNameOf(thrown) !== 'EEXIST') throw TsError.from(thrown);
  }
}

function mountOne(rootfs: string, given: Mount): void {
  const { options, maps } = splitIdMaps(given.options);
  const request = { ...given, options: [...options] };
  if (maps === undefined) for (const call of planMount(rootfs, request)) perform(call);
  else {
    withIdmappedLayers(options, maps, layersDirectory(rootfs), (mapped) => {
      for (const call of planMount(rootfs, { ...request, options: [...mapped] })) perform(call);
    });
  }
}

/** Where id-mapped layers are mounted for a moment: beside the root, which covers what is below it. */
const layersDirectory = (rootfs: string): string => `${rootfs}.layers`;

function planMount(rootfs: string, { source, type, target: below, options }: Mount): MountCall[] {
  const target = targetOf(rootfs, below);
  const { flags, propagation, data } = parseMountOptions(options);
  const calls: MountCall[] = [compacted({ source, target, type, flags, data })];
  const isBind = flags.includes('MS_BIND');
  const attributes = flags.filter((flag) => flag !== 'MS_REC' && flag !== 'MS_BIND');
  if (isBind && attributes.length > 0) {
    // A bind mount takes the flags of its source; its own come with a second call.
    calls.push({ request: { target, flags: ['MS_BIND', 'MS_REMOUNT', ...attributes] } });
  }
  if (propagation.length > 0) calls.push({ request: { target, flags: propagation } });
  return calls;
}

function compacted(request: MountRequest & { data: string }): MountCall {
  const { data } = request;
  if (Buffer.byteLength(data) <= MAX_MOUNT_DATA_BYTES) return { request };
  const compact = compactLayers(data);
  if (compact === undefined) return { request };
  return { request: { ...request, data: compact.data }, directory: compact.directory };
}

function perform({ request, directory }: MountCall): void {
  if (directory === undefined) {
    mount(request);
    return;
  }
  // Nothing else runs between the two changes of directory: all three calls are synchronous.
  const before = process.cwd();
  process.chdir(directory);
  try {
    mount(request);
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

/**
 * The mount points at and below a path, one for each mount, in the order in which they were made. On
 * a machine with thousands of mounts only the few lines that may matter are parsed.
 */
export function mountPointsBelow(rootfs: string): string[] {
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
