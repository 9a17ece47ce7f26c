/**
 * open(2). Four of these bits have other values on arm64 than on x86-64 (asm/fcntl.h); the others
 * are the same everywhere.
 */
const perArchitecture =
  process.arch === 'arm64'
    ? { O_DIRECT: 0o200000, O_LARGEFILE: 0o400000, O_DIRECTORY: 0o40000, O_NOFOLLOW: 0o100000 }
    : { O_DIRECT: 0o40000, O_LARGEFILE: 0o100000, O_DIRECTORY: 0o200000, O_NOFOLLOW: 0o400000 };

export const OpenFlag = {
  ...perArchitecture,
  O_RDONLY: 0,
  O_WRONLY: 1,
  O_RDWR: 2,
  O_CREAT: 0o100,
  O_EXCL: 0o200,
  O_NOCTTY: 0o400,
  O_TRUNC: 0o1000,
  O_APPEND: 0o2000,
  O_NONBLOCK: 0o4000,
  O_DSYNC: 0o10000,
  O_NOATIME: 0o1000000,
  O_CLOEXEC: 0o2000000,
  O_SYNC: 0o4010000,
  O_PATH: 0o10000000,
  O_TMPFILE: 0o20000000 | perArchitecture.O_DIRECTORY,
} as const;
export type OpenFlag = keyof typeof OpenFlag;

/** openat2(2) `resolve`. */
export const ResolveFlag = {
  RESOLVE_NO_XDEV: 0x01,
  RESOLVE_NO_MAGICLINKS: 0x02,
  RESOLVE_NO_SYMLINKS: 0x04,
  RESOLVE_BENEATH: 0x08,
  RESOLVE_IN_ROOT: 0x10,
  RESOLVE_CACHED: 0x20,
} as const;
export type ResolveFlag = keyof typeof ResolveFlag;

/** Flags of the `*at` calls (linux/fcntl.h). */
export const AtFlag = {
  AT_SYMLINK_NOFOLLOW: 0x100,
  AT_EACCESS: 0x200,
  AT_REMOVEDIR: 0x200,
  AT_SYMLINK_FOLLOW: 0x400,
  AT_NO_AUTOMOUNT: 0x800,
  AT_EMPTY_PATH: 0x1000,
  AT_RECURSIVE: 0x8000,
} as const;
export type AtFlag = keyof typeof AtFlag;

/** The directory fd that means the working directory. */
export const AT_FDCWD = -100;

/** File types in st_mode (man 7 inode). */
export const FileType = {
  S_IFIFO: 0o010000,
  S_IFCHR: 0o020000,
  S_IFDIR: 0o040000,
  S_IFBLK: 0o060000,
  S_IFREG: 0o100000,
  S_IFLNK: 0o120000,
  S_IFSOCK: 0o140000,
} as const;
export type FileType = keyof typeof FileType;

/** renameat2(2). */
export const RenameFlag = { RENAME_NOREPLACE: 1, RENAME_EXCHANGE: 2, RENAME_WHITEOUT: 4 } as const;
export type RenameFlag = keyof typeof RenameFlag;

/** fcntl(2) commands. */
export const FcntlCommand = {
  F_GETFD: 1,
  F_SETFD: 2,
  F_GETFL: 3,
  F_SETFL: 4,
  F_DUPFD_CLOEXEC: 1030,
  F_SETPIPE_SZ: 1031,
  F_GETPIPE_SZ: 1032,
  F_ADD_SEALS: 1033,
  F_GET_SEALS: 1034,
} as const;
export type FcntlCommand = keyof typeof FcntlCommand;
/** Flags of a descriptor (fcntl(2) F_SETFD). */
export const FdFlag = { FD_CLOEXEC: 1 } as const;

/** Seals of a memfd (linux/fcntl.h). */
export const Seal = {
  F_SEAL_SEAL: 1,
  F_SEAL_SHRINK: 2,
  F_SEAL_GROW: 4,
  F_SEAL_WRITE: 8,
  F_SEAL_FUTURE_WRITE: 16,
  F_SEAL_EXEC: 32,
} as const;
export type Seal = keyof typeof Seal;

/** memfd_create(2). */
export const MemfdFlag = {
  MFD_CLOEXEC: 1,
  MFD_ALLOW_SEALING: 2,
  MFD_NOEXEC_SEAL: 8,
  MFD_EXEC: 16,
} as const;
export type MemfdFlag = keyof typeof MemfdFlag;

/** close_range(2). */
export const CloseRangeFlag = { CLOSE_RANGE_UNSHARE: 2, CLOSE_RANGE_CLOEXEC: 4 } as const;
export type CloseRangeFlag = keyof typeof CloseRangeFlag;
