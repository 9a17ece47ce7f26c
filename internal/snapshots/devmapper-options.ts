/** File systems that a thin device can have. */
export const THIN_FILE_SYSTEMS = ['ext4', 'xfs', 'ext2'] as const;
export type ThinFileSystem = (typeof THIN_FILE_SYSTEMS)[number];

/** How the devmapper snapshotter is set up. */
export interface DevmapperOptions {
  /** Name of the thin pool, without /dev/mapper. */
  readonly pool: string;
  /** Size of the file system that a container sees. */
  readonly baseBytes: bigint;
  readonly fileSystem: ThinFileSystem;
  /** For `mkfs -E`; '' for what mkfs does by itself. */
  readonly fileSystemOptions: string;
  /** Whether the blocks of a removed snapshot are given back below the pool too. */
  readonly discardsBlocks: boolean;
  /** Whether devices are deleted by the next collection, not by the removal. */
  readonly removesLater: boolean;
}
