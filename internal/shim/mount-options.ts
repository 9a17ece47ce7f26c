/**
 * Options of a mount that a daemon asks for (containerd.types.Mount: the words of mount(8)), sorted
 * into what mount(2) takes.
 */
import type { MountFlag } from '../linux/index.ts';

export interface MountArguments {
  readonly flags: readonly MountFlag[];
  readonly propagation: readonly MountFlag[];
  /** The file system's own options, joined by commas. */
  readonly data: string;
}

const SET: ReadonlyMap<string, readonly MountFlag[]> = new Map<string, readonly MountFlag[]>([
  ['ro', ['MS_RDONLY']],
  ['nosuid', ['MS_NOSUID']],
  ['nodev', ['MS_NODEV']],
  ['noexec', ['MS_NOEXEC']],
  ['sync', ['MS_SYNCHRONOUS']],
  ['remount', ['MS_REMOUNT']],
  ['mand', ['MS_MANDLOCK']],
  ['dirsync', ['MS_DIRSYNC']],
  ['noatime', ['MS_NOATIME']],
  ['nodiratime', ['MS_NODIRATIME']],
  ['relatime', ['MS_RELATIME']],
  ['strictatime', ['MS_STRICTATIME']],
  ['lazytime', ['MS_LAZYTIME']],
  ['bind', ['MS_BIND']],
  ['rbind', ['MS_BIND', 'MS_REC']],
]);

const CLEAR: ReadonlyMap<string, MountFlag | undefined> = new Map<string, MountFlag | undefined>([
  ['defaults', undefined],
  ['rw', 'MS_RDONLY'],
  ['suid', 'MS_NOSUID'],
  ['dev', 'MS_NODEV'],
  ['exec', 'MS_NOEXEC'],
  ['async', 'MS_SYNCHRONOUS'],
  ['nomand', 'MS_MANDLOCK'],
  ['atime', 'MS_NOATIME'],
  ['diratime', 'MS_NODIRATIME'],
  ['norelatime', 'MS_RELATIME'],
  ['nostrictatime', 'MS_STRICTATIME'],
  ['nolazytime', 'MS_LAZYTIME'],
]);

const PROPAGATION: ReadonlyMap<string, readonly MountFlag[]> = new Map<
  string,
  readonly MountFlag[]
>([
  ['private', ['MS_PRIVATE']],
  ['rprivate', ['MS_PRIVATE', 'MS_REC']],
  ['slave', ['MS_SLAVE']],
  ['rslave', ['MS_SLAVE', 'MS_REC']],
  ['shared', ['MS_SHARED']],
  ['rshared', ['MS_SHARED', 'MS_REC']],
  ['unbindable', ['MS_UNBINDABLE']],
  ['runbindable', ['MS_UNBINDABLE', 'MS_REC']],
]);

/** Sorts options; of contradictory ones the last counts. What no table knows is data. */
export function parseMountOptions(options: readonly string[]): MountArguments {
  const flags = new Set<MountFlag>();
  let propagation: readonly MountFlag[] = [];
  const data: string[] = [];
  for (const option of options) {
    const set = SET.get(option);
    const spread = PROPAGATION.get(option);
    if (set !== undefined) for (const flag of set) flags.add(flag);
    else if (spread !== undefined) propagation = spread;
    else if (CLEAR.has(option)) {
      const flag = CLEAR.get(option);
      if (flag !== undefined) flags.delete(flag);
    } else data.push(option);
  }
  return { flags: [...flags], propagation, data: data.join(',') };
}

/** mount(2) copies one page of data, its NUL included. */
export const MAX_MOUNT_DATA_BYTES = 4095;

/** An overlay's data in fewer bytes: its layers relative to a directory that all of them are below. */
export interface CompactData {
  readonly data: string;
  readonly directory: string;
}

/**
 * Shortens an overlay's data by the directory that its layers share. Undefined if there are no
 * two layers with a common directory.
 */
export function compactLayers(data: string): CompactData | undefined {
  const options = data.split(',');
  const index = options.findIndex((option) => option.startsWith('lowerdir='));
  const layers = options[index]?.slice('lowerdir='.length).split(':') ?? [];
  if (index < 0 || layers.length < 2) return undefined;
  const directory = commonDirectory(layers);
  if (directory === undefined) return undefined;
  const relative = layers.map((layer) => layer.slice(directory.length + 1));
  options[index] = `lowerdir=${relative.join(':')}`;
  return { data: options.join(','), directory };
}

function commonDirectory(paths: readonly string[]): string | undefined {
  const [first = '', ...others] = paths.map((path) => path.split('/').slice(0, -1));
  let length = first.length;
  for (const other of others) {
    let same = 0;
    while (same < length && first[same] === other[same]) same++;
    length = same;
  }
  const directory = [...first].slice(0, length).join('/');
  return directory.startsWith('/') ? directory : undefined;
}
