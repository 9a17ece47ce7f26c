/**
 * Sorts the options of a mount of config.json (runtime-spec config.md#linux-mount-options,
 * config-linux.md): what belongs to the mount point, to the file system as a whole, to propagation,
 * and what is the file system's own (`size=64k`).
 */
import { TsError } from '../errors/index.ts';

/** Properties of one mount point (man 2 mount_setattr). */
export type MountAttribute =
  | 'ro'
  | 'nosuid'
  | 'nodev'
  | 'noexec'
  | 'nodiratime'
  | 'nosymfollow'
  | AccessTime;

/** Mutually exclusive. */
export type AccessTime = 'relatime' | 'noatime' | 'strictatime';

/** Properties of a file system, by the name that fsconfig(2) gives them. */
export type SuperblockFlag = 'ro' | 'sync' | 'dirsync' | 'lazytime' | 'mand' | 'silent';

export type Propagation = 'private' | 'shared' | 'slave' | 'unbindable';

export interface AttributeChange {
  /** Attributes to set. */
  readonly set: ReadonlySet<MountAttribute>;
  /** Attributes that an option takes away by name, such as ro by `rw`. */
  readonly clear: ReadonlySet<MountAttribute>;
}

export interface PropagationChange {
  readonly type: Propagation;
  readonly isRecursive: boolean;
}

export interface MountOptions {
  /** `rbind` makes a bind mount with all mounts below. */
  readonly bind: 'bind' | 'rbind' | undefined;
  readonly isRemount: boolean;
  readonly attributes: AttributeChange;
  /** `rro` and the like: for the mount and all below. */
  readonly recursiveAttributes: AttributeChange;
  readonly superblockFlags: ReadonlySet<SuperblockFlag>;
  readonly propagation: readonly PropagationChange[];
  readonly idmap: 'idmap' | 'ridmap' | undefined;
  /** `tmpcopyup`: a tmpfs starts with a copy of what it covers. */
  readonly copiesUp: boolean;
  /** Left for the file system, in order: `mode=755`, `newinstance`. */
  readonly data: readonly string[];
}

type Change = readonly ['set' | 'clear', MountAttribute];

const ATTRIBUTES: Readonly<Record<string, Change>> = {
  ro: ['set', 'ro'],
  rw: ['clear', 'ro'],
  nosuid: ['set', 'nosuid'],
  suid: ['clear', 'nosuid'],
  nodev: ['set', 'nodev'],
  dev: ['clear', 'nodev'],
  noexec: ['set', 'noexec'],
  exec: ['clear', 'noexec'],
  noatime: ['set', 'noatime'],
  atime: ['clear', 'noatime'],
  nodiratime: ['set', 'nodiratime'],
  diratime: ['clear', 'nodiratime'],
  relatime: ['set', 'relatime'],
  norelatime: ['clear', 'relatime'],
  strictatime: ['set', 'strictatime'],
  nostrictatime: ['clear', 'strictatime'],
  nosymfollow: ['set', 'nosymfollow'],
  symfollow: ['clear', 'nosymfollow'],
};

const SUPERBLOCK: Readonly<Record<string, readonly ['set' | 'clear', SuperblockFlag] | undefined>> =
  {
    ro: ['set', 'ro'],
    rw: ['clear', 'ro'],
    sync: ['set', 'sync'],
    async: ['clear', 'sync'],
    dirsync: ['set', 'dirsync'],
    lazytime: ['set', 'lazytime'],
    nolazytime: ['clear', 'lazytime'],
    mand: ['set', 'mand'],
    nomand: ['clear', 'mand'],
    silent: ['set', 'silent'],
    loud: ['clear', 'silent'],
  };

/** Options without a meaning of their own any more (mount(2) ignores their flags, or has none). */
const WITHOUT_EFFECT = new Set(['defaults', 'acl', 'noacl', 'iversion', 'noiversion']);

const PROPAGATIONS = new Set<string>(['private', 'shared', 'slave', 'unbindable']);

const ACCESS_TIMES: readonly AccessTime[] = ['relatime', 'noatime', 'strictatime'];

/** Of contradicting options the last one counts, as with mount(8). */
export function parseMountOptions(options: readonly string[]): MountOptions {
  const attributes = new Changes();
  const recursiveAttributes = new Changes();
  const superblockFlags = new Set<SuperblockFlag>();
  const propagation: PropagationChange[] = [];
  const data: string[] = [];
  let bind: MountOptions['bind'];
  let idmap: MountOptions['idmap'];
  let isRemount = false;
  let copiesUp = false;
  for (const option of options) {
    const attribute = own(ATTRIBUTES, option);
    const superblock = own(SUPERBLOCK, option);
    const recursive = option.startsWith('r') ? own(ATTRIBUTES, option.slice(1)) : undefined;
    if (attribute !== undefined) attributes.apply(attribute);
    if (superblock?.[0] === 'set') superblockFlags.add(superblock[1]);
    if (superblock?.[0] === 'clear') superblockFlags.delete(superblock[1]);
    if (attribute !== undefined || superblock !== undefined || WITHOUT_EFFECT.has(option)) continue;
    if (recursive !== undefined) recursiveAttributes.apply(recursive);
    else if (PROPAGATIONS.has(option)) {
      propagation.push({ type: option as Propagation, isRecursive: false });
    } else if (option.startsWith('r') && PROPAGATIONS.has(option.slice(1))) {
      propagation.push({ type: option.slice(1) as Propagation, isRecursive: true });
    } else if (option === 'bind' || option === 'rbind') bind = option;
    else if (option === 'remount') isRemount = true;
    else if (option === 'tmpcopyup') copiesUp = true;
    else if (option === 'idmap' || option === 'ridmap') idmap = option;
    else if (option !== '') data.push(option);
  }
  return {
    bind,
    isRemount,
    attributes,
    recursiveAttributes,
    superblockFlags,
    propagation,
    idmap,
    copiesUp,
    data,
  };
}

class Changes implements AttributeChange {
  readonly set = new Set<MountAttribute>();
  readonly clear = new Set<MountAttribute>();

  apply([change, attribute]: Change): void {
    const isAccessTime = (ACCESS_TIMES as readonly string[]).includes(attribute);
    if (change === 'set') {
      if (isAccessTime) for (const other of ACCESS_TIMES) this.set.delete(other);
      this.set.add(attribute);
      this.clear.delete(attribute);
    } else {
      this.set.delete(attribute);
      this.clear.add(attribute);
    }
  }
}

function own<T>(table: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(table, key) ? table[key] : undefined;
}

/** A file system's own option: `mode=755` is a key with a value, `newinstance` is a flag. */
export interface DataOption {
  readonly key: string;
  readonly value: string | undefined;
}

/** Splits `key=value`. Throws InvalidArgument for an option without a key. */
export function parseDataOption(option: string): DataOption {
  const equals = option.indexOf('=');
  if (equals === 0) {
    throw new TsError('InvalidArgument', `mount option ${JSON.stringify(option)} has no name`);
  }
  if (equals === -1) return { key: option, value: undefined };
  return { key: option.slice(0, equals), value: option.slice(equals + 1) };
}
