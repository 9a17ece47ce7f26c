import { nearestName } from './nearest-name.ts';
import { propertyError } from './schema-check.ts';
import type { Mount } from './spec.ts';

/**
 * What the options of a mount mean, as names of the kernel's constants: MS_* of mount(2),
 * MOUNT_ATTR_* of mount_setattr(2). A later option undoes an earlier one that contradicts it.
 */
export interface MountOptions {
  /** `MS_RDONLY`, `MS_BIND`, `MS_REC` …, without propagation. */
  readonly set: ReadonlySet<string>;
  /** Flags that were explicitly taken away: a remount must not inherit them. */
  readonly clear: ReadonlySet<string>;
  /** Each a call of mount(2) of its own, in order: `MS_PRIVATE`, `MS_REC` with it if `recursive`. */
  readonly propagation: readonly Propagation[];
  /** For one mount_setattr(2) with AT_RECURSIVE; undefined when no recursive option is given. */
  readonly recursive: RecursiveAttributes | undefined;
  /** What the file system itself is told, `size=64k`. */
  readonly data: readonly string[];
  /** Copy what the image has at the destination into the new tmpfs. */
  readonly tmpcopyup: boolean;
  /** Map ids of this mount, or of all mounts below it too. */
  readonly idmap: 'idmap' | 'ridmap' | undefined;
}

export interface Propagation {
  readonly flag: PropagationFlag;
  readonly recursive: boolean;
}

export type PropagationFlag = 'MS_PRIVATE' | 'MS_SHARED' | 'MS_SLAVE' | 'MS_UNBINDABLE';

export interface RecursiveAttributes {
  readonly set: ReadonlySet<string>;
  readonly clear: ReadonlySet<string>;
}

type Meaning =
  | { readonly set: readonly string[] }
  | { readonly clear: readonly string[] }
  | { readonly propagation: PropagationFlag; readonly recursive: boolean }
  | { readonly attributeSet: string }
  | { readonly attributeClear: string }
  | { readonly atime: string }
  | { readonly extension: 'tmpcopyup' | 'idmap' | 'ridmap' }
  | Record<string, never>;

/** Every option that is not the file system's own (runtime-spec config-linux.md#mount-options). */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  acl: { set: ['MS_POSIXACL'] },
  async: { clear: ['MS_SYNCHRONOUS'] },
  atime: { clear: ['MS_NOATIME'] },
  bind: { set: ['MS_BIND'] },
  defaults: {},
  dev: { clear: ['MS_NODEV'] },
  diratime: { clear: ['MS_NODIRATIME'] },
  dirsync: { set: ['MS_DIRSYNC'] },
  exec: { clear: ['MS_NOEXEC'] },
  iversion: { set: ['MS_I_VERSION'] },
  lazytime: { set: ['MS_LAZYTIME'] },
  loud: { clear: ['MS_SILENT'] },
  mand: { set: ['MS_MANDLOCK'] },
  noacl: { clear: ['MS_POSIXACL'] },
  noatime: { set: ['MS_NOATIME'] },
  nodev: { set: ['MS_NODEV'] },
  nodiratime: { set: ['MS_NODIRATIME'] },
  noexec: { set: ['MS_NOEXEC'] },
  noiversion: { clear: ['MS_I_VERSION'] },
  nolazytime: { clear: ['MS_LAZYTIME'] },
  nomand: { clear: ['MS_MANDLOCK'] },
  norelatime: { clear: ['MS_RELATIME'] },
  nostrictatime: { clear: ['MS_STRICTATIME'] },
  nosuid: { set: ['MS_NOSUID'] },
  nosymfollow: { set: ['MS_NOSYMFOLLOW'] },
  rbind: { set: ['MS_BIND', 'MS_REC'] },
  relatime: { set: ['MS_RELATIME'] },
  remount: { set: ['MS_REMOUNT'] },
  ro: { set: ['MS_RDONLY'] },
  rw: { clear: ['MS_RDONLY'] },
  silent: { set: ['MS_SILENT'] },
  strictatime: { set: ['MS_STRICTATIME'] },
  suid: { clear: ['MS_NOSUID'] },
  symfollow: { clear: ['MS_NOSYMFOLLOW'] },
  sync: { set: ['MS_SYNCHRONOUS'] },

  private: { propagation: 'MS_PRIVATE', recursive: false },
  rprivate: { propagation: 'MS_PRIVATE', recursive: true },
  rshared: { propagation: 'MS_SHARED', recursive: true },
  rslave: { propagation: 'MS_SLAVE', recursive: true },
  runbindable: { propagation: 'MS_UNBINDABLE', recursive: true },
  shared: { propagation: 'MS_SHARED', recursive: false },
  slave: { propagation: 'MS_SLAVE', recursive: false },
  unbindable: { propagation: 'MS_UNBINDABLE', recursive: false },

  // The three access-time modes are one field of the kernel's: it is cleared and set as a whole
  // (man 2 mount_setattr), and taking one mode away means the kernel's default, relatime.
  ratime: { atime: 'MOUNT_ATTR_RELATIME' },
  rdev: { attributeClear: 'MOUNT_ATTR_NODEV' },
  rdiratime: { attributeClear: 'MOUNT_ATTR_NODIRATIME' },
  rexec: { attributeClear: 'MOUNT_ATTR_NOEXEC' },
  rnoatime: { atime: 'MOUNT_ATTR_NOATIME' },
  rnodev: { attributeSet: 'MOUNT_ATTR_NODEV' },
  rnodiratime: { attributeSet: 'MOUNT_ATTR_NODIRATIME' },
  rnoexec: { attributeSet: 'MOUNT_ATTR_NOEXEC' },
  rnorelatime: { atime: 'MOUNT_ATTR_STRICTATIME' },
  rnostrictatime: { atime: 'MOUNT_ATTR_RELATIME' },
  rnosuid: { attributeSet: 'MOUNT_ATTR_NOSUID' },
  rnosymfollow: { attributeSet: 'MOUNT_ATTR_NOSYMFOLLOW' },
  rrelatime: { atime: 'MOUNT_ATTR_RELATIME' },
  rro: { attributeSet: 'MOUNT_ATTR_RDONLY' },
  rrw: { attributeClear: 'MOUNT_ATTR_RDONLY' },
  rstrictatime: { atime: 'MOUNT_ATTR_STRICTATIME' },
  rsuid: { attributeClear: 'MOUNT_ATTR_NOSUID' },
  rsymfollow: { attributeClear: 'MOUNT_ATTR_NOSYMFOLLOW' },

  idmap: { extension: 'idmap' },
  ridmap: { extension: 'ridmap' },
  tmpcopyup: { extension: 'tmpcopyup' },
};

/** The known options, sorted, as `features` lists them. */
export function mountOptionNames(): string[] {
  return Object.keys(MEANINGS).sort();
}

/** Parameters of file systems whose list is the kernel's alone; a name ends at `=`. */
const PARAMETERS: Readonly<Record<string, readonly string[]>> = {
  devpts: ['gid', 'max', 'mode', 'newinstance', 'ptmxmode', 'uid'],
  mqueue: [],
  proc: ['gid', 'hidepid', 'pidns', 'subset'],
  sysfs: [],
  tmpfs: [
    'casefold',
    'gid',
    'grpquota',
    'grpquota_block_hardlimit',
    'grpquota_inode_hardlimit',
    'huge',
    'inode32',
    'inode64',
    'mode',
    'mpol',
    'nr_blocks',
    'nr_inodes',
    'noswap',
    'quota',
    'size',
    'strict_encoding',
    'uid',
    'usrquota',
    'usrquota_block_hardlimit',
    'usrquota_inode_hardlimit',
  ],
};

/** Labels that any file system takes when SELinux is on (mount(8)). */
const LABELS = ['context', 'defcontext', 'fscontext', 'rootcontext', 'seclabel'];

/**
 * What `mount.options` mean. `property` is the mount's place in the document, `mounts[3]`.
 *
 * Options that are not in the table go to the file system. Where it is known that it would not take
 * one, or as for a bind mount silently drop it, this throws InvalidArgument naming the option.
 */
export function parseMountOptions(
  mount: Pick<Mount, 'type' | 'options'>,
  property: string,
  document = 'config.json',
): MountOptions {
  const set = new Set<string>();
  const clear = new Set<string>();
  const attributeSet = new Set<string>();
  const attributeClear = new Set<string>();
  const propagation: Propagation[] = [];
  const data: string[] = [];
  const dataIndexes: number[] = [];
  let tmpcopyup = false;
  let idmap: 'idmap' | 'ridmap' | undefined;

  const options = mount.options ?? [];
  for (let index = 0; index < options.length; index++) {
    const option = options[index] as string;
    const meaning = Object.hasOwn(MEANINGS, option) ? MEANINGS[option] : undefined;
    if (meaning === undefined) {
      if (option === '') continue;
      data.push(option);
      dataIndexes.push(index);
    } else if ('set' in meaning) {
      for (const flag of meaning.set) moveTo(flag, set, clear);
    } else if ('clear' in meaning) {
      for (const flag of meaning.clear) moveTo(flag, clear, set);
    } else if ('propagation' in meaning) {
      propagation.push({ flag: meaning.propagation, recursive: meaning.recursive });
    } else if ('attributeSet' in meaning) {
      moveTo(meaning.attributeSet, attributeSet, attributeClear);
    } else if ('attributeClear' in meaning) {
      moveTo(meaning.attributeClear, attributeClear, attributeSet);
    } else if ('atime' in meaning) {
      for (const mode of ATIME_MODES) attributeSet.delete(mode);
      attributeSet.add(meaning.atime);
      attributeClear.add('MOUNT_ATTR__ATIME');
    } else if ('extension' in meaning) {
      if (meaning.extension === 'tmpcopyup') tmpcopyup = true;
      else idmap = meaning.extension;
    }
  }

  const takes = set.has('MS_BIND') ? [] : parametersOf(mount.type);
  if (takes !== undefined) {
    const isBind = set.has('MS_BIND');
    data.forEach((option, position) => {
      const name = option.split('=', 1)[0] ?? '';
      if (takes.includes(name) || LABELS.includes(name)) return;
      const near = nearestName(name, [...takes, ...Object.keys(MEANINGS)]);
      throw propertyError(
        document,
        `${property}.options[${dataIndexes[position]}]`,
        `unknown mount option ${JSON.stringify(option)} for ${isBind ? 'a bind mount' : mount.type}`,
        near === undefined ? undefined : `use "${near}" if that was meant`,
      );
    });
  }

  const isRecursive = attributeSet.size > 0 || attributeClear.size > 0;
  return {
    set,
    clear,
    propagation,
    recursive: isRecursive ? { set: attributeSet, clear: attributeClear } : undefined,
    data,
    tmpcopyup,
    idmap,
  };
}

const ATIME_MODES = ['MOUNT_ATTR_RELATIME', 'MOUNT_ATTR_NOATIME', 'MOUNT_ATTR_STRICTATIME'];

function parametersOf(type: string | undefined): readonly string[] | undefined {
  return type !== undefined && Object.hasOwn(PARAMETERS, type) ? PARAMETERS[type] : undefined;
}

function moveTo(flag: string, to: Set<string>, from: Set<string>): void {
  from.delete(flag);
  to.add(flag);
}
