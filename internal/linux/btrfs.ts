/**
 * Subvolumes of btrfs. A subvolume is named by an open directory and a name in it, never by a path:
 * a container that was in it may have left links.
 *
 * These calls may wait for a transaction of the file system: they are for worker threads.
 */
import { TsError } from '../errors/index.ts';
import { BtrfsIoctl, SubvolumeFlag } from './constants/btrfs.ts';
import type { Name } from './entry.ts';
import { rawSyscall, syscall } from './syscall.ts';

/** struct btrfs_ioctl_vol_args{,_v2} and btrfs_ioctl_ino_lookup_args are all of one page. */
const ARGUMENT_BYTES = 4096;
/** The name's place: after `fd`, in the second version after `transid`, `flags` and four words too. */
const NAME_OFFSET = 8;
const NAME_OFFSET_V2 = 56;
const FLAGS_OFFSET_V2 = 16;
/** BTRFS_VOL_NAME_MAX. */
const MAX_NAME_BYTES = 255;
/** Inode of the root directory of each subvolume (BTRFS_FIRST_FREE_OBJECTID). */
const ROOT_INODE = 256n;

function checkedName(name: Name): Buffer {
  const bytes = typeof name === 'string' ? Buffer.from(name) : name;
  if (bytes.length <= MAX_NAME_BYTES) return bytes;
  throw new TsError('InvalidArgument', `name of subvolume ${bytes.toString()}: ENAMETOOLONG`);
}

/** Makes an empty subvolume `name` in an open directory. */
export function createSubvolume(dirFd: number, name: Name): void {
  const args = Buffer.alloc(ARGUMENT_BYTES);
  checkedName(name).copy(args, NAME_OFFSET);
  const operation = () => `create subvolume ${name}`;
  syscall(operation, 'ioctl', dirFd, BtrfsIoctl.BTRFS_IOC_SUBVOL_CREATE, args);
}

/** Makes the subvolume `name` in an open directory: a copy of the open subvolume `sourceFd`. */
export function snapshotSubvolume(
  sourceFd: number,
  dirFd: number,
  name: Name,
  isReadOnly: boolean,
): void {
  const args = Buffer.alloc(ARGUMENT_BYTES);
  args.writeBigInt64LE(BigInt(sourceFd), 0);
  args.writeBigUInt64LE(isReadOnly ? SubvolumeFlag.BTRFS_SUBVOL_RDONLY : 0n, FLAGS_OFFSET_V2);
  checkedName(name).copy(args, NAME_OFFSET_V2);
  const operation = () => `snapshot subvolume ${name}`;
  syscall(operation, 'ioctl', dirFd, BtrfsIoctl.BTRFS_IOC_SNAP_CREATE_V2, args);
}

/**
 * Deletes the subvolume `name` of an open directory, read-only or not: 0 or the negated errno, such
 * as ENOTEMPTY while another subvolume is in it.
 */
export function destroySubvolume(dirFd: number, name: Name): number {
  const args = Buffer.alloc(ARGUMENT_BYTES);
  checkedName(name).copy(args, NAME_OFFSET);
  return rawSyscall('ioctl', dirFd, BtrfsIoctl.BTRFS_IOC_SNAP_DESTROY, args);
}

/** Number of the subvolume that an open file or directory is in, for the mount option `subvolid`. */
export function subvolumeId(fd: number): bigint {
  const args = Buffer.alloc(ARGUMENT_BYTES); // treeid 0: that of the descriptor
  args.writeBigUInt64LE(ROOT_INODE, 8);
  syscall(() => 'look up subvolume', 'ioctl', fd, BtrfsIoctl.BTRFS_IOC_INO_LOOKUP, args);
  return args.readBigUInt64LE(0);
}

/** Makes an open subvolume read-only, or writable again. */
export function setSubvolumeReadOnly(fd: number, isReadOnly: boolean): void {
  const flags = Buffer.alloc(8);
  syscall(() => 'get subvolume flags', 'ioctl', fd, BtrfsIoctl.BTRFS_IOC_SUBVOL_GETFLAGS, flags);
  const old = flags.readBigUInt64LE(0);
  const readOnly = SubvolumeFlag.BTRFS_SUBVOL_RDONLY;
  const wanted = isReadOnly ? old | readOnly : old & ~readOnly;
  if (wanted === old) return;
  flags.writeBigUInt64LE(wanted, 0);
  syscall(() => 'set subvolume flags', 'ioctl', fd, BtrfsIoctl.BTRFS_IOC_SUBVOL_SETFLAGS, flags);
}

/** Whether a directory of btrfs with this inode number is the root of a subvolume. */
export function isSubvolumeRoot(inode: bigint): boolean {
  return inode === ROOT_INODE;
}
