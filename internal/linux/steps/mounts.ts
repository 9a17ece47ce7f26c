import { flags, named } from '../constants/flags.ts';
import {
  FsConfigCommand,
  FsMountFlag,
  FsOpenFlag,
  MountAttribute,
  MountFlag,
  MoveMountFlag,
  OpenTreeFlag,
  UnmountFlag,
} from '../constants/mount.ts';
import { type Argument, Memory, type Named, type Value } from '../program/argument.ts';
import type { Step } from '../program/step.ts';
import { WORKING_DIRECTORY } from './files.ts';

/** mount(2). */
export function mount(options: {
  source?: string | null;
  target: string;
  type?: string | null;
  flags?: readonly MountFlag[];
  data?: string | null;
}): Step {
  const { source = null, target, type = null, flags: names = [], data = null } = options;
  const what = names.includes('MS_REMOUNT') ? 'remount' : 'mount';
  const propagation = names.find((name) => PROPAGATION.has(name));
  const label =
    propagation !== undefined
      ? `make ${target} ${propagation.slice('MS_'.length).toLowerCase()}`
      : `${what} ${type ?? source ?? ''} on ${target}`.replace('  ', ' ');
  const args: Argument[] = [source, target, type, flags(MountFlag, names), data];
  return { label, call: 'mount', args };
}

const PROPAGATION: ReadonlySet<MountFlag> = new Set<MountFlag>([
  'MS_PRIVATE',
  'MS_SLAVE',
  'MS_SHARED',
  'MS_UNBINDABLE',
]);

/** umount2(2). */
export function unmount(target: string, names: readonly UnmountFlag[] = []): Step {
  return { label: `unmount ${target}`, call: 'umount2', args: [target, flags(UnmountFlag, names)] };
}

/** pivot_root(2); with `.` for both, the old root ends up stacked on the new one (man 2 pivot_root). */
export function pivotRoot(newRoot: string, putOld: string): Step {
  return { label: `pivot_root to ${newRoot}`, call: 'pivot_root', args: [newRoot, putOld] };
}

/** open_tree(2): an fd for the mount at a path, or for a detached copy of it. Linux 5.2. */
export function openTree(options: {
  directory?: Value | Named;
  path: string;
  flags: readonly OpenTreeFlag[];
}): Step {
  const { directory = WORKING_DIRECTORY, path, flags: names } = options;
  const what = names.includes('OPEN_TREE_CLONE') ? 'copy mount' : 'open mount';
  return {
    label: path === '' ? `${what} of an fd` : `${what} ${path}`,
    call: 'open_tree',
    args: [directory, path, flags(OpenTreeFlag, names)],
  };
}

/**
 * move_mount(2): attaches a detached mount, or moves one. Empty paths mean the fds themselves. Linux
 * 5.2.
 */
export function moveMount(options: {
  from: Value;
  fromPath?: string;
  to?: Value | Named;
  toPath?: string;
  flags?: readonly MoveMountFlag[];
}): Step {
  const { from, fromPath = '', to = WORKING_DIRECTORY, toPath = '', flags: extra = [] } = options;
  const names: MoveMountFlag[] = [...extra];
  if (fromPath === '') names.push('MOVE_MOUNT_F_EMPTY_PATH');
  if (toPath === '') names.push('MOVE_MOUNT_T_EMPTY_PATH');
  return {
    label: toPath === '' ? 'attach mount' : `attach mount at ${toPath}`,
    call: 'move_mount',
    args: [from, fromPath, to, toPath, flags(MoveMountFlag, names)],
  };
}

/** fsopen(2): begins a new file system. Linux 5.2. */
export function openFileSystem(type: string): Step {
  const args: Argument[] = [type, flags(FsOpenFlag, ['FSOPEN_CLOEXEC'])];
  return { label: `open file system ${type}`, call: 'fsopen', args };
}

/** fsconfig(2), an option with a value (`size=64k`) or without (`ro`). */
export function configureFileSystem(context: Value, key: string, value?: string): Step {
  const command: FsConfigCommand =
    value === undefined ? 'FSCONFIG_SET_FLAG' : 'FSCONFIG_SET_STRING';
  return {
    label: `set file system option ${value === undefined ? key : `${key}=${value}`}`,
    call: 'fsconfig',
    args: [context, named(FsConfigCommand, command), key, value ?? null, 0],
  };
}

/** fsconfig(2), an option whose value is an fd. */
export function configureFileSystemFd(context: Value, key: string, fd: number): Step {
  return {
    label: `set file system option ${key}`,
    call: 'fsconfig',
    args: [context, named(FsConfigCommand, 'FSCONFIG_SET_FD'), key, null, fd],
  };
}

/** fsconfig(2) FSCONFIG_CMD_CREATE: makes the superblock. */
export function createFileSystem(context: Value): Step {
  const command = named(FsConfigCommand, 'FSCONFIG_CMD_CREATE');
  return {
    label: 'create file system',
    call: 'fsconfig',
    args: [context, command, null, null, 0],
  };
}

/** fsmount(2): a detached mount of a created file system, as an fd. */
export function mountFileSystem(context: Value, attributes: readonly MountAttribute[] = []): Step {
  const args = [
    context,
    flags(FsMountFlag, ['FSMOUNT_CLOEXEC']),
    flags(MountAttribute, attributes),
  ];
  return { label: 'mount file system', call: 'fsmount', args };
}

/** What mount_setattr(2) changes. */
export interface MountAttributeChange {
  set?: readonly MountAttribute[];
  clear?: readonly MountAttribute[];
  propagation?: 'MS_PRIVATE' | 'MS_SLAVE' | 'MS_SHARED' | 'MS_UNBINDABLE';
  /** User namespace of an id-mapped mount (with MOUNT_ATTR_IDMAP). */
  userNamespaceFd?: number;
}

const MOUNT_ATTR_BYTES = 32;

/** mount_setattr(2) on a path below a directory fd, or on the fd itself. Linux 5.12. */
export function setMountAttributes(options: {
  directory?: Value | Named;
  path?: string;
  change: MountAttributeChange;
  recursive?: boolean;
}): Step {
  const { directory = WORKING_DIRECTORY, path = '', change, recursive = false } = options;
  const at: (keyof typeof OpenTreeFlag)[] = [
    ...(path === '' ? (['AT_EMPTY_PATH'] as const) : (['AT_SYMLINK_NOFOLLOW'] as const)),
    ...(recursive ? (['AT_RECURSIVE'] as const) : []),
  ];
  const label = path === '' ? 'set mount attributes' : `set mount attributes of ${path}`;
  const attributes = mountAttributes(change);
  const args = [directory, path, flags(OpenTreeFlag, at), attributes, MOUNT_ATTR_BYTES];
  return { label, call: 'mount_setattr', args };
}

function mountAttributes(change: MountAttributeChange): Memory {
  const { set = [], clear = [], propagation, userNamespaceFd } = change;
  const setBits = flags(MountAttribute, set);
  const clearBits = flags(MountAttribute, clear);
  const text = () => {
    const parts = [`set=${setBits.text}`, `clear=${clearBits.text}`];
    if (propagation !== undefined) parts.push(`propagation=${propagation}`);
    if (userNamespaceFd !== undefined) parts.push(`userns_fd=${userNamespaceFd}`);
    return `{${parts.join(', ')}}`;
  };
  return new Memory(MOUNT_ATTR_BYTES, text, (view) => {
    view.setBigUint64(0, BigInt(setBits.value), true);
    view.setBigUint64(8, BigInt(clearBits.value), true);
    view.setBigUint64(16, BigInt(propagation === undefined ? 0 : MountFlag[propagation]), true);
    view.setBigUint64(24, BigInt(userNamespaceFd ?? 0), true);
  });
}
