/** mount(2) (linux/mount.h). */
export const MountFlag = {
  MS_RDONLY: 1,
  MS_NOSUID: 2,
  MS_NODEV: 4,
  MS_NOEXEC: 8,
  MS_SYNCHRONOUS: 16,
  MS_REMOUNT: 32,
  MS_MANDLOCK: 64,
  MS_DIRSYNC: 128,
  MS_NOSYMFOLLOW: 256,
  MS_NOATIME: 1024,
  MS_NODIRATIME: 2048,
  MS_BIND: 4096,
  MS_MOVE: 8192,
  MS_REC: 16384,
  MS_SILENT: 32768,
  MS_POSIXACL: 1 << 16,
  MS_UNBINDABLE: 1 << 17,
  MS_PRIVATE: 1 << 18,
  MS_SLAVE: 1 << 19,
  MS_SHARED: 1 << 20,
  MS_RELATIME: 1 << 21,
  MS_I_VERSION: 1 << 23,
  MS_STRICTATIME: 1 << 24,
  MS_LAZYTIME: 1 << 25,
} as const;
export type MountFlag = keyof typeof MountFlag;

/** umount2(2). */
export const UnmountFlag = {
  MNT_FORCE: 1,
  MNT_DETACH: 2,
  MNT_EXPIRE: 4,
  UMOUNT_NOFOLLOW: 8,
} as const;
export type UnmountFlag = keyof typeof UnmountFlag;

/** Attributes of one mount, for fsmount(2) and mount_setattr(2) (linux/mount.h). */
export const MountAttribute = {
  MOUNT_ATTR_RDONLY: 0x1,
  MOUNT_ATTR_NOSUID: 0x2,
  MOUNT_ATTR_NODEV: 0x4,
  MOUNT_ATTR_NOEXEC: 0x8,
  MOUNT_ATTR__ATIME: 0x70,
  MOUNT_ATTR_RELATIME: 0,
  MOUNT_ATTR_NOATIME: 0x10,
  MOUNT_ATTR_STRICTATIME: 0x20,
  MOUNT_ATTR_NODIRATIME: 0x80,
  MOUNT_ATTR_IDMAP: 0x100000,
  MOUNT_ATTR_NOSYMFOLLOW: 0x200000,
} as const;
export type MountAttribute = keyof typeof MountAttribute;

/** open_tree(2). OPEN_TREE_CLOEXEC is O_CLOEXEC; the AT flags are those of at.ts. */
export const OpenTreeFlag = {
  OPEN_TREE_CLONE: 1,
  OPEN_TREE_CLOEXEC: 0o2000000,
  AT_EMPTY_PATH: 0x1000,
  AT_NO_AUTOMOUNT: 0x800,
  AT_SYMLINK_NOFOLLOW: 0x100,
  AT_RECURSIVE: 0x8000,
} as const;
export type OpenTreeFlag = keyof typeof OpenTreeFlag;

/** move_mount(2). */
export const MoveMountFlag = {
  MOVE_MOUNT_F_SYMLINKS: 0x1,
  MOVE_MOUNT_F_AUTOMOUNTS: 0x2,
  MOVE_MOUNT_F_EMPTY_PATH: 0x4,
  MOVE_MOUNT_T_SYMLINKS: 0x10,
  MOVE_MOUNT_T_AUTOMOUNTS: 0x20,
  MOVE_MOUNT_T_EMPTY_PATH: 0x40,
  MOVE_MOUNT_SET_GROUP: 0x100,
  MOVE_MOUNT_BENEATH: 0x200,
} as const;
export type MoveMountFlag = keyof typeof MoveMountFlag;

/** fsopen(2). */
export const FsOpenFlag = { FSOPEN_CLOEXEC: 1 } as const;
/** fsmount(2). */
export const FsMountFlag = { FSMOUNT_CLOEXEC: 1 } as const;

/** fsconfig(2). */
export const FsConfigCommand = {
  FSCONFIG_SET_FLAG: 0,
  FSCONFIG_SET_STRING: 1,
  FSCONFIG_SET_BINARY: 2,
  FSCONFIG_SET_PATH: 3,
  FSCONFIG_SET_PATH_EMPTY: 4,
  FSCONFIG_SET_FD: 5,
  FSCONFIG_CMD_CREATE: 6,
  FSCONFIG_CMD_RECONFIGURE: 7,
} as const;
export type FsConfigCommand = keyof typeof FsConfigCommand;

/** f_type of statfs(2) (linux/magic.h). */
export const FileSystemMagic = {
  BTRFS_SUPER_MAGIC: 0x9123683e,
  CGROUP2_SUPER_MAGIC: 0x63677270,
  CGROUP_SUPER_MAGIC: 0x27e0eb,
  DEVPTS_SUPER_MAGIC: 0x1cd1,
  EXT4_SUPER_MAGIC: 0xef53,
  FUSE_SUPER_MAGIC: 0x65735546,
  MQUEUE_MAGIC: 0x19800202,
  NFS_SUPER_MAGIC: 0x6969,
  NSFS_MAGIC: 0x6e736673,
  OVERLAYFS_SUPER_MAGIC: 0x794c7630,
  PROC_SUPER_MAGIC: 0x9fa0,
  RAMFS_MAGIC: 0x858458f6,
  RDTGROUP_SUPER_MAGIC: 0x7655821,
  SYSFS_MAGIC: 0x62656572,
  TMPFS_MAGIC: 0x01021994,
  XFS_SUPER_MAGIC: 0x58465342,
  ZFS_SUPER_MAGIC: 0x2fc12fc1,
} as const;
export type FileSystemMagic = keyof typeof FileSystemMagic;

/** f_flags of statfs(2) (linux/statfs.h). */
export const StatfsFlag = {
  ST_NOEXEC: 0x8,
} as const;

export type StatfsFlag = keyof typeof StatfsFlag;
