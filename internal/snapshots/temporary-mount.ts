import { closeSync, openSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { MountFlag } from '../linux/constants/mount.ts';
import { splitIdMaps, withIdmappedLayers } from '../linux/idmapped-layers.ts';
import { mount, unmountAll } from '../linux/mount.ts';
import type { Mount } from './snapshotter.ts';

/** mount(8)'s words that are flags of mount(2), each with the word that takes it back. */
const WORDS: readonly (readonly [word: string, flag: MountFlag, negation: string | undefined])[] = [
  ['ro', 'MS_RDONLY', 'rw'],
  ['nosuid', 'MS_NOSUID', 'suid'],
  ['nodev', 'MS_NODEV', 'dev'],
  ['noexec', 'MS_NOEXEC', 'exec'],
  ['sync', 'MS_SYNCHRONOUS', 'async'],
  ['dirsync', 'MS_DIRSYNC', undefined],
  ['noatime', 'MS_NOATIME', 'atime'],
  ['nodiratime', 'MS_NODIRATIME', 'diratime'],
  ['relatime', 'MS_RELATIME', 'norelatime'],
  ['strictatime', 'MS_STRICTATIME', 'nostrictatime'],
  ['bind', 'MS_BIND', undefined],
];

/** Flags of mount(2), and what is left for the file system, from mount(8)'s words. */
export function parseMountOptions(options: readonly string[]): {
  flags: MountFlag[];
  data: string;
} {
  const flags = new Set<MountFlag>();
  const data: string[] = [];
  for (const option of options) {
    const set = WORDS.find(([word]) => word === option);
    const clear = WORDS.find(([, , negation]) => negation === option);
    if (option === 'rbind') flags.add('MS_BIND').add('MS_REC');
    else if (set !== undefined) flags.add(set[1]);
    else if (clear !== undefined) flags.delete(clear[1]);
    else if (option !== 'defaults') data.push(option);
  }
  return { flags: [...flags], data: data.join(',') };
}

/** Mounts `mounts`, one on the other, at `target`. What was mounted is undone if one fails. */
export function mountAll(mounts: readonly Mount[], target: string): void {
  try {
    for (const one of mounts) {
      const { options, maps } = splitIdMaps(one.options);
      const mountWith = (given: readonly string[]) => mountOne({ ...one, options: given }, target);
      if (maps === undefined) mountWith(options);
      else withIdmappedLayers(options, maps, `${target}.layers`, mountWith);
    }
  } catch (error) {
    unmountAll(target);
    throw error;
  }
}

function mountOne(request: Mount, target: string): void {
  using short = shortened(request);
  const { type, source, options } = short.mount;
  const { flags, data } = parseMountOptions(options);
  const isBind = flags.includes('MS_BIND');
  const bindFlags = flags.filter((flag) => flag === 'MS_BIND' || flag === 'MS_REC');
  mount({ source, target, type, flags: isBind ? bindFlags : flags, data });
  // A bind mount takes other flags only when it is remounted (man 2 mount).
  if (isBind && flags.length > bindFlags.length) {
    mount({ source, target, type, flags: [...flags, 'MS_REMOUNT'], data });
  }
}

/** mount(2) takes one page of options, less its end. */
const MAX_DATA_BYTES = 4095;

/**
 * A mount whose options fit into a page: the directory that all layers of a tall overlay have in
 * common is named by a descriptor, which has to stay open until it is mounted.
 */
function shortened(mount: Mount): { readonly mount: Mount } & Disposable {
  const { data } = parseMountOptions(mount.options);
  const lowerdir = mount.options.find((option) => option.startsWith('lowerdir='));
  if (mount.type !== 'overlay' || Buffer.byteLength(data) <= MAX_DATA_BYTES || !lowerdir) {
    return { mount, [Symbol.dispose]: () => undefined };
  }
  const layers = lowerdir.slice('lowerdir='.length).split(':');
  const common = commonDirectory(layers);
  const fd = openSync(common || '/', 'r');
  const short = layers.map((layer) => `/proc/self/fd/${fd}${layer.slice(common.length)}`);
  const options = mount.options.map((option) =>
    option === lowerdir ? `lowerdir=${short.join(':')}` : option,
  );
  return { mount: { ...mount, options }, [Symbol.dispose]: () => closeSync(fd) };
}

/** The deepest directory that all paths are in. */
function commonDirectory(paths: readonly string[]): string {
  let common = dirname(paths[0] ?? '/');
  while (!paths.every((path) => path.startsWith(`${common}/`))) {
    if (common === '/') return '';
    common = dirname(common);
  }
  return common;
}

/** Runs `body` while `mounts` are mounted on a directory of their own below `directory`. */
export async function withMounts<T>(
  mounts: readonly Mount[],
  body: (root: string) => Promise<T>,
  directory = tmpdir(),
): Promise<T> {
  const target = await mkdtemp(join(directory, 'tscontainerd-mount-'));
  try {
    mountAll(mounts, target);
    try {
      return await body(target);
    } finally {
      unmountAll(target);
    }
  } finally {
    await rmdir(target);
  }
}

/**
 * Makes a directory for `withMounts` and undoes what a process that was killed left mounted in it.
 * Nothing is deleted but empty directories.
 */
export async function sweepMounts(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
  for (const name of await readdir(directory)) {
    const target = join(directory, name);
    unmountAll(target);
    await rmdir(target);
  }
}
