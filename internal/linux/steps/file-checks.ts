import { AtFlag, FileType } from '../constants/file.ts';
import { flags } from '../constants/flags.ts';
import { FileSystemMagic } from '../constants/mount.ts';
import { Memory, Named, type Value } from '../program/argument.ts';
import type { Sequence } from '../program/sequence.ts';
import { check } from '../program/step.ts';

/**
 * Attack: a rootfs whose /proc, /dev/null or /dev/console is not what its name says, so that a write
 * or a bind mount goes where the image wants it (CVE-2019-19921, CVE-2025-31133, CVE-2025-52565).
 * Defence: the program opens the object once, looks at the fd, and goes on with the fd.
 */

/** struct statfs begins with f_type, a word, on both architectures. */
const STATFS_BYTES = 120;

/** Fails with EINVAL unless the fd is on a file system of the given type. */
export function checkFileSystem(
  sequence: Sequence,
  fd: Value,
  magic: FileSystemMagic,
  name: string,
): void {
  const statfs = new Memory(STATFS_BYTES, () => '&statfs');
  sequence.add({ label: `stat file system of ${name}`, call: 'fstatfs', args: [fd, statfs] });
  sequence.add(
    check(`${name} is not ${article(magic)} file system`, statfs.field(0, 'statfs.f_type'), {
      equals: new Named(FileSystemMagic[magic], magic),
      errno: 'EINVAL',
    }),
  );
}

function article(magic: FileSystemMagic): string {
  const name = magic.replace(/_(SUPER_)?MAGIC$/, '').toLowerCase();
  return `a ${name}`;
}

/** struct statx (linux/stat.h): stx_mode is the 16 bits at 28, stx_rdev_major and _minor at 128. */
const STATX_BYTES = 256;
const STATX_BASIC_STATS = new Named(0x7ff, 'STATX_BASIC_STATS');
const FILE_TYPE_MASK = 0o170000n;

function statx(sequence: Sequence, fd: Value, name: string): Memory {
  const buffer = new Memory(STATX_BYTES, () => '&statx');
  const args = [fd, '', flags(AtFlag, ['AT_EMPTY_PATH']), STATX_BASIC_STATS, buffer];
  sequence.add({ label: `stat ${name}`, call: 'statx', args });
  return buffer;
}

/** Fails with EINVAL unless the fd is a file of the given type. */
export function checkFileType(sequence: Sequence, fd: Value, type: FileType, name: string): void {
  checkType(sequence, statx(sequence, fd, name), type, name);
}

function checkType(sequence: Sequence, buffer: Memory, type: FileType, name: string): void {
  // The word at 24 holds stx_gid (32 bits), then stx_mode (16 bits).
  sequence.add(
    check(`${name} is not ${FILE_TYPE_NAMES[type]}`, buffer.field(24, 'statx.stx_mode'), {
      mask: new Named(FILE_TYPE_MASK << 32n, 'S_IFMT'),
      equals: new Named(BigInt(FileType[type]) << 32n, type),
      errno: 'EINVAL',
    }),
  );
}

const FILE_TYPE_NAMES: Readonly<Record<FileType, string>> = {
  S_IFIFO: 'a fifo',
  S_IFCHR: 'a character device',
  S_IFDIR: 'a directory',
  S_IFBLK: 'a block device',
  S_IFREG: 'a regular file',
  S_IFLNK: 'a symlink',
  S_IFSOCK: 'a socket',
};

/** Fails with EINVAL unless the fd is the device major:minor, such as the character device 1:3. */
export function checkDevice(
  sequence: Sequence,
  fd: Value,
  device: { type: 'S_IFCHR' | 'S_IFBLK'; major: number; minor: number },
  name: string,
): void {
  const { type, major, minor } = device;
  const buffer = statx(sequence, fd, name);
  checkType(sequence, buffer, type, name);
  sequence.add(
    check(`${name} is not the device ${major}:${minor}`, buffer.field(128, 'statx.stx_rdev'), {
      equals: new Named(BigInt(major) | (BigInt(minor) << 32n), () => `${major}:${minor}`),
      errno: 'EINVAL',
    }),
  );
}
