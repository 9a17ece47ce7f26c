import {
  AT_FDCWD,
  AtFlag,
  CloseRangeFlag,
  FcntlCommand,
  FdFlag,
  FileType,
  MemfdFlag,
  OpenFlag,
  ResolveFlag,
} from '../constants/file.ts';
import { combine, flags, named } from '../constants/flags.ts';
import { bytesOf, Memory, Named, type Value } from '../program/argument.ts';
import type { Step } from '../program/step.ts';

/** A directory fd, or {@link WORKING_DIRECTORY}. */
export type Directory = Value | Named;

/** The working directory, as the directory fd of an `*at` call. */
export const WORKING_DIRECTORY: Named = new Named(AT_FDCWD, 'AT_FDCWD');

const OPEN_HOW_BYTES = 24;

/**
 * openat2(2). `RESOLVE_IN_ROOT` treats the directory as the root for `..`, absolute paths and
 * symlinks: the way into a rootfs that may lie. Always close-on-exec.
 */
export function open(options: {
  directory?: Directory;
  path: string;
  flags: readonly OpenFlag[];
  resolve?: readonly ResolveFlag[];
  mode?: number;
}): Step {
  const { directory = WORKING_DIRECTORY, path, flags: names, resolve = [], mode = 0 } = options;
  const how = openHow(names, resolve, mode);
  return { label: `open ${path}`, call: 'openat2', args: [directory, path, how, OPEN_HOW_BYTES] };
}

const hows = new Map<string, Memory>();

/** struct open_how, one for each combination: a container's program opens some hundred files. */
function openHow(
  names: readonly OpenFlag[],
  resolve: readonly ResolveFlag[],
  mode: number,
): Memory {
  const openBits = combine(OpenFlag, names) | OpenFlag.O_CLOEXEC;
  const resolveBits = combine(ResolveFlag, resolve);
  const key = `${openBits} ${resolveBits} ${mode}`;
  const known = hows.get(key);
  if (known !== undefined) return known;
  const text = () => {
    const parts = [[...names, 'O_CLOEXEC'].join('|'), octal(mode).text, resolve.join('|')];
    return `{${parts.filter((part) => part !== '').join(', ')}}`;
  };
  const how = new Memory(OPEN_HOW_BYTES, text, (view) => {
    view.setUint32(0, openBits, true);
    view.setUint32(8, mode, true);
    view.setUint32(16, resolveBits, true);
  });
  hows.set(key, how);
  return how;
}

/** mkdirat(2); the umask applies. */
export function makeDirectory(
  path: string,
  mode = 0o755,
  directory: Directory = WORKING_DIRECTORY,
): Step {
  return { label: `mkdir ${path}`, call: 'mkdirat', args: [directory, path, octal(mode)] };
}

/** mknodat(2); `mode` without the file type; the umask applies. */
export function makeNode(options: {
  directory?: Directory;
  path: string;
  type: FileType;
  mode: number;
  major?: number;
  minor?: number;
}): Step {
  const { directory = WORKING_DIRECTORY, path, type, mode, major = 0, minor = 0 } = options;
  const typeAndMode = new Named(FileType[type] | mode, () => `${type}|${octal(mode).text}`);
  const device = new Named(deviceNumber(major, minor), () => `makedev(${major}, ${minor})`);
  return { label: `mknod ${path}`, call: 'mknodat', args: [directory, path, typeAndMode, device] };
}

/** The kernel's 32-bit encoding of a device number (linux/kdev_t.h new_encode_dev). */
export function deviceNumber(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** symlinkat(2). */
export function makeSymlink(
  target: string,
  path: string,
  directory: Directory = WORKING_DIRECTORY,
): Step {
  return { label: `symlink ${path}`, call: 'symlinkat', args: [target, directory, path] };
}

/** unlinkat(2); with AT_REMOVEDIR a directory. */
export function unlink(
  path: string,
  options: { directory?: Directory; flags?: readonly AtFlag[] } = {},
): Step {
  const { directory = WORKING_DIRECTORY, flags: names = [] } = options;
  return {
    label: `unlink ${path}`,
    call: 'unlinkat',
    args: [directory, path, flags(AtFlag, names)],
  };
}

/** fchownat(2) of a path, not following a symlink, or of an fd (empty path). */
export function chown(options: {
  directory?: Directory;
  path?: string;
  uid: number;
  gid: number;
}): Step {
  const { directory = WORKING_DIRECTORY, path = '', uid, gid } = options;
  const at = flags(AtFlag, [path === '' ? 'AT_EMPTY_PATH' : 'AT_SYMLINK_NOFOLLOW']);
  const label = path === '' ? 'chown an fd' : `chown ${path}`;
  return { label, call: 'fchownat', args: [directory, path, uid, gid, at] };
}

/** fchmod(2). */
export function chmodFd(fd: Value, mode: number): Step {
  return { label: 'chmod an fd', call: 'fchmod', args: [fd, octal(mode)] };
}

/** fchmodat(2); follows a symlink, as the call has no other form before Linux 6.6. */
export function chmod(path: string, mode: number, directory: Directory = WORKING_DIRECTORY): Step {
  return { label: `chmod ${path}`, call: 'fchmodat', args: [directory, path, octal(mode)] };
}

/** dup3(2): `to` becomes a copy of `from`; a different number each, else EINVAL. */
export function duplicate(from: Value, to: Value, options: { closeOnExec?: boolean } = {}): Step {
  const names = options.closeOnExec === true ? (['O_CLOEXEC'] as const) : [];
  return { label: 'duplicate an fd', call: 'dup3', args: [from, to, flags(OpenFlag, names)] };
}

/** close(2). */
export function close(fd: Value): Step {
  return { label: 'close an fd', call: 'close', args: [fd] };
}

/** close_range(2) of all fds from `first` on: closes them, or marks them close-on-exec. */
export function closeFrom(first: number, action: 'now' | 'on exec'): Step {
  const names = action === 'now' ? [] : (['CLOSE_RANGE_CLOEXEC'] as const);
  return {
    label: `close the fds from ${first} on`,
    call: 'close_range',
    args: [first, new Named(0xffffffff, '~0U'), flags(CloseRangeFlag, names)],
  };
}

/** close_range(2) of the fds from `first` to `last`. */
export function closeBetween(first: number, last: number): Step {
  const label = `close the fds ${first} to ${last}`;
  return { label, call: 'close_range', args: [first, last, 0] };
}

/** sendfile(2) from the beginning of a file, as far as it goes in one call. */
export function sendFile(to: Value, from: Value, bytes: number): Step {
  return { label: 'send a file', call: 'sendfile', args: [to, from, null, bytes] };
}

/** fcntl(2) F_SETFD. */
export function setCloseOnExec(fd: Value, closeOnExec: boolean): Step {
  const fdFlags = flags(FdFlag, closeOnExec ? ['FD_CLOEXEC'] : []);
  return {
    label: `${closeOnExec ? 'set' : 'clear'} close-on-exec`,
    call: 'fcntl',
    args: [fd, named(FcntlCommand, 'F_SETFD'), fdFlags],
  };
}

/** read(2) of `bytes` bytes into memory that nobody looks at: a step that waits. */
export function waitForBytes(fd: Value, bytes = 1): Step {
  const buffer = new Memory(bytes, () => 'buffer');
  return { label: 'wait for a message', call: 'read', args: [fd, buffer, bytes] };
}

/** read(2) into memory of the program. */
export function read(fd: Value, into: Memory): Step {
  return { label: 'read', call: 'read', args: [fd, into, into.size] };
}

/** write(2) of text or bytes. A short write is success for the kernel: check the result if it matters. */
export function write(fd: Value, data: string | Uint8Array): Step {
  const memory = bytesOf(data);
  return { label: 'write', call: 'write', args: [fd, memory, memory.size] };
}

/** memfd_create(2). */
export function createMemfd(name: string, names: readonly MemfdFlag[] = ['MFD_CLOEXEC']): Step {
  return {
    label: `create memfd ${name}`,
    call: 'memfd_create',
    args: [name, flags(MemfdFlag, names)],
  };
}

/** A mode that explains itself in octal: `0755`. */
export function octal(mode: number): Named {
  return new Named(mode, () => `0${mode.toString(8)}`);
}
