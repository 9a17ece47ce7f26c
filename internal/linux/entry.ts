/**
 * Makes, changes and reads entries of a directory that is held open, so that no path is ever
 * resolved twice and none can leave a root (man 7 path_resolution, man 2 openat2).
 *
 * Names are bytes: a Buffer, or a string that is encoded as UTF-8. Paths given to {@link openInRoot}
 * may have several components; all other functions take one component and follow no link.
 */
import { TsError } from '../errors/index.ts';
import { AT_FDCWD, AtFlag, OpenFlag, ResolveFlag } from './constants/file.ts';
import { rawSyscall } from './syscall.ts';

/** A file name: bytes, or text in UTF-8. */
export type Name = Buffer | string;

const EINTR = 4;
const EAGAIN = 11;
/** Retries of openat2 on EAGAIN: the kernel saw a rename and cannot tell whether `..` is safe. */
const OPENAT2_RETRIES = 128;

function cString(name: Name): Buffer {
  const bytes = typeof name === 'string' ? Buffer.from(name) : name;
  if (bytes.includes(0)) {
    throw new TsError('InvalidArgument', `file name ${JSON.stringify(name.toString())}: NUL byte`);
  }
  return Buffer.concat([bytes, Buffer.from([0])]);
}

function check(result: number, what: string, name: Name): number {
  if (result < 0) throw TsError.ofErrno(-result, `${what} ${name.toString()}`);
  return result;
}

/**
 * Opens `path` as if `rootFd` were the root directory: `..` and absolute links stay inside
 * (RESOLVE_IN_ROOT), links of /proc lead nowhere. Returns the descriptor or the negated errno.
 * `flags` are open(2)'s; O_CLOEXEC is added.
 */
export function openInRoot(rootFd: number, path: Name, flags: number, mode = 0): number {
  const how = new BigUint64Array(3); // struct open_how
  how[0] = BigInt(flags | OpenFlag.O_CLOEXEC);
  how[1] = BigInt(mode);
  how[2] = BigInt(ResolveFlag.RESOLVE_IN_ROOT | ResolveFlag.RESOLVE_NO_MAGICLINKS);
  const bytes = new Uint8Array(how.buffer);
  const name = cString(path);
  for (let attempt = 0; ; attempt++) {
    const fd = rawSyscall('openat2', rootFd, name, bytes, bytes.length);
    const isPassing = fd === -EINTR || (fd === -EAGAIN && attempt < OPENAT2_RETRIES);
    if (!isPassing) return fd;
  }
}

/** Opens one component without following it; the descriptor or the negated errno. */
export function openEntry(dirFd: number, name: Name, flags: number, mode = 0): number {
  const bits = flags | OpenFlag.O_NOFOLLOW | OpenFlag.O_CLOEXEC;
  for (;;) {
    const fd = rawSyscall('openat', dirFd, cString(name), bits, mode);
    if (fd !== -EINTR) return fd;
  }
}

/** Closes a descriptor of {@link openInRoot} or {@link openEntry}. */
export function closeFd(fd: number): void {
  rawSyscall('close', fd);
}

/** mkdirat(2): 0 or the negated errno. */
export function makeDirectory(dirFd: number, name: Name, mode: number): number {
  return rawSyscall('mkdirat', dirFd, cString(name), mode);
}

/** symlinkat(2): 0 or the negated errno. */
export function makeSymlink(target: Name, dirFd: number, name: Name): number {
  return rawSyscall('symlinkat', cString(target), dirFd, cString(name));
}

/** linkat(2) without following the target: 0 or the negated errno. */
export function makeHardLink(fromFd: number, from: Name, toFd: number, to: Name): number {
  return rawSyscall('linkat', fromFd, cString(from), toFd, cString(to), 0);
}

/** mknodat(2): 0 or the negated errno. `mode` holds the file type. */
export function makeNode(
  dirFd: number,
  name: Name,
  mode: number,
  device: { major: number; minor: number },
): number {
  return rawSyscall('mknodat', dirFd, cString(name), mode, encodeDevice(device));
}

/** dev_t as the kernel takes it in mknod(2): 12 bits of major, 20 of minor (new_encode_dev). */
function encodeDevice({ major, minor }: { major: number; minor: number }): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** unlinkat(2): 0 or the negated errno. */
export function removeEntry(dirFd: number, name: Name, isDirectory: boolean): number {
  return rawSyscall('unlinkat', dirFd, cString(name), isDirectory ? AtFlag.AT_REMOVEDIR : 0);
}

/** Target of a symbolic link. */
export function readSymlink(dirFd: number, name: Name): Buffer {
  const target = Buffer.alloc(4096);
  const length = rawSyscall('readlinkat', dirFd, cString(name), target, target.length);
  return target.subarray(0, check(length, 'read link', name));
}

/** Owner of an entry, of a link itself. */
export function changeOwner(dirFd: number, name: Name, uid: number, gid: number): void {
  const result = rawSyscall('fchownat', dirFd, cString(name), uid, gid, AtFlag.AT_SYMLINK_NOFOLLOW);
  check(result, `change owner to ${uid}:${gid} of`, name);
}

/** Mode bits of an open file or directory. */
export function changeModeOfFd(fd: number, mode: number, name: Name): void {
  check(rawSyscall('fchmod', fd, mode), `change mode to ${mode.toString(8)} of`, name);
}

/** Mode bits of an entry that cannot be opened (device, fifo), through an O_PATH descriptor. */
export function changeMode(dirFd: number, name: Name, mode: number): void {
  const fd = check(openEntry(dirFd, name, OpenFlag.O_PATH), 'open', name);
  try {
    const result = rawSyscall('fchmodat', AT_FDCWD, `/proc/self/fd/${fd}`, mode);
    check(result, `change mode to ${mode.toString(8)} of`, name);
  } finally {
    closeFd(fd);
  }
}

/** Access and modification time in nanoseconds since the epoch, of a link itself. */
export function changeTimes(dirFd: number, name: Name, atimeNs: bigint, mtimeNs: bigint): void {
  const flag = AtFlag.AT_SYMLINK_NOFOLLOW;
  const result = rawSyscall('utimensat', dirFd, cString(name), timespecs(atimeNs, mtimeNs), flag);
  check(result, 'change times of', name);
}

/** As {@link changeTimes} for an open file. */
export function changeTimesOfFd(fd: number, atimeNs: bigint, mtimeNs: bigint, name: Name): void {
  const result = rawSyscall('utimensat', fd, null, timespecs(atimeNs, mtimeNs), 0);
  check(result, 'change times of', name);
}

function timespecs(...times: bigint[]): Uint8Array {
  const words = new BigInt64Array(times.length * 2);
  times.forEach((ns, i) => {
    const nanos = ((ns % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n;
    words[2 * i] = (ns - nanos) / 1_000_000_000n;
    words[2 * i + 1] = nanos;
  });
  return new Uint8Array(words.buffer);
}

/** Kind, mode, owner and identity of an entry. */
export interface EntryStat {
  readonly mode: number;
  readonly links: number;
  readonly uid: number;
  readonly gid: number;
  readonly inode: bigint;
  readonly sizeBytes: number;
  /** Space on disk in units of 512 bytes. */
  readonly blocks512: number;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly fileSystemDevice: bigint;
}

const STATX_BASIC = 0x7ff;

/**
 * statx(2) of an entry (of a link itself), or of `dirFd` when `name` is ''. The negated errno when
 * it cannot be read.
 */
export function statEntry(dirFd: number, name: Name): EntryStat | number {
  const out = Buffer.alloc(256); // struct statx
  const flags = AtFlag.AT_SYMLINK_NOFOLLOW | AtFlag.AT_EMPTY_PATH;
  const result = rawSyscall('statx', dirFd, cString(name), flags, STATX_BASIC, out);
  if (result < 0) return result;
  return {
    mode: out.readUInt16LE(28),
    links: out.readUInt32LE(16),
    uid: out.readUInt32LE(20),
    gid: out.readUInt32LE(24),
    inode: out.readBigUInt64LE(32),
    sizeBytes: Number(out.readBigUInt64LE(40)),
    blocks512: Number(out.readBigUInt64LE(48)),
    ctimeNs: timestamp(out, 96),
    mtimeNs: timestamp(out, 112),
    deviceMajor: out.readUInt32LE(128),
    deviceMinor: out.readUInt32LE(132),
    fileSystemDevice: (BigInt(out.readUInt32LE(136)) << 32n) | BigInt(out.readUInt32LE(140)),
  };
}

function timestamp(out: Buffer, offset: number): bigint {
  return out.readBigInt64LE(offset) * 1_000_000_000n + BigInt(out.readUInt32LE(offset + 8));
}

/** A path that reaches an O_PATH or other descriptor's file in calls that have no `*at` form. */
export function pathOfFd(fd: number): string {
  return `/proc/self/fd/${fd}`;
}
