/**
 * Options of a mount in the words of mount(8), sorted into what mount(2) takes.
 */
import type { MountFlag } from './constants/mount.ts';

/** What a list of words comes to. */
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
