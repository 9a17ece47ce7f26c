/**
 * Extended attributes (man 7 xattr) of files that are reached through an open directory.
 *
 * There is no `*at` form before Linux 6.13: `l*xattr` on /proc/self/fd/DIR/NAME does the same, since
 * only the last component could be a link and it is not followed.
 */
import { TsError } from '../errors/index.ts';
import { type Name, pathOfFd } from './entry.ts';
import { rawSyscall } from './syscall.ts';

const ERANGE = 34;
const ENODATA = 61;
const EOPNOTSUPP = 95;
/** XATTR_LIST_MAX and XATTR_SIZE_MAX. */
const MAX_BYTES = 65536;

function at(dirFd: number, name: Name): Buffer {
  const bytes = typeof name === 'string' ? Buffer.from(name) : name;
  const prefix = Buffer.from(bytes.length === 0 ? pathOfFd(dirFd) : `${pathOfFd(dirFd)}/`);
  // Without a name the attribute is the directory's own: `/.` makes the kernel follow the fd link.
  const suffix = bytes.length === 0 ? Buffer.from('/.\0') : Buffer.from([0]);
  return Buffer.concat([prefix, bytes, suffix]);
}

/** Sets an attribute: 0 or the negated errno. `name` '' is the directory itself. */
export function setXattr(dirFd: number, name: Name, key: string, value: Buffer): number {
  return rawSyscall('lsetxattr', at(dirFd, name), `${key}`, value, value.length, 0);
}

/** Removes an attribute: 0 or the negated errno. */
export function removeXattr(dirFd: number, name: Name, key: string): number {
  return rawSyscall('lremovexattr', at(dirFd, name), key);
}

/** Value of an attribute; undefined when it is absent or the file system has none. */
export function getXattr(dirFd: number, name: Name, key: string): Buffer | undefined {
  const path = at(dirFd, name);
  for (let size = 256; ; size = MAX_BYTES) {
    const value = Buffer.alloc(size);
    const length = rawSyscall('lgetxattr', path, key, value, value.length);
    if (length >= 0) return value.subarray(0, length);
    if (length === -ENODATA || length === -EOPNOTSUPP) return undefined;
    if (length !== -ERANGE || size === MAX_BYTES) {
      throw TsError.ofErrno(-length, `read attribute ${key} of ${name.toString()}`);
    }
  }
}

/** Names of all attributes that the caller may see, in the kernel's order. */
export function listXattrs(dirFd: number, name: Name): string[] {
  const path = at(dirFd, name);
  for (let size = 1024; ; size = MAX_BYTES) {
    const list = Buffer.alloc(size);
    const length = rawSyscall('llistxattr', path, list, list.length);
    if (length === -EOPNOTSUPP) return [];
    if (length >= 0) {
      return list.toString('latin1', 0, length).split('\0').slice(0, -1);
    }
    if (length !== -ERANGE || size === MAX_BYTES) {
      throw TsError.ofErrno(-length, `list attributes of ${name.toString()}`);
    }
  }
}
