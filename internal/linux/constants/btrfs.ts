/** ioctls of btrfs (linux/btrfs.h; struct sizes are part of the numbers, the same on x86-64 and arm64). */
export const BtrfsIoctl = {
  BTRFS_IOC_SUBVOL_CREATE: 0x5000940e,
  BTRFS_IOC_SNAP_DESTROY: 0x5000940f,
  BTRFS_IOC_INO_LOOKUP: 0xd0009412,
  BTRFS_IOC_SNAP_CREATE_V2: 0x50009417,
  BTRFS_IOC_SUBVOL_GETFLAGS: 0x80089419,
  BTRFS_IOC_SUBVOL_SETFLAGS: 0x4008941a,
} as const;
export type BtrfsIoctl = keyof typeof BtrfsIoctl;

/** Flags of a subvolume (linux/btrfs.h). */
export const SubvolumeFlag = { BTRFS_SUBVOL_RDONLY: 2n } as const;
export type SubvolumeFlag = keyof typeof SubvolumeFlag;
