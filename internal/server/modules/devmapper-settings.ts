import type { ConfigFile } from '../../config/index.ts';
import { TsError } from '../../errors/index.ts';
import { type DevmapperOptions, THIN_FILE_SYSTEMS } from '../../snapshots/devmapper-options.ts';

const DEVMAPPER = 'io.containerd.snapshotter.v1.devmapper';

/**
 * What the table says. Throws Unknown with containerd's words when it is not filled in, and
 * InvalidArgument with the name of a key that is wrong.
 */
export function devmapperOptions(table: ConfigFile['plugins'][typeof DEVMAPPER]): DevmapperOptions {
  if (table.pool_name === '') {
    throw new TsError('Unknown', 'devmapper not configured: skip plugin');
  }
  if (table.base_image_size === '') throw invalid('base_image_size is required');
  const type = table.fs_type === '' ? 'ext4' : table.fs_type;
  const fileSystem = THIN_FILE_SYSTEMS.find((each) => each === type);
  if (fileSystem === undefined) throw invalid(`unsupported Filesystem Type: "${type}"`);
  return {
    pool: table.pool_name,
    baseBytes: parseSize(table.base_image_size),
    fileSystem,
    // Without it the kernel would go on writing inode tables long after, into every snapshot.
    fileSystemOptions:
      fileSystem === 'ext4' && table.fs_options === ''
        ? 'nodiscard,lazy_itable_init=0,lazy_journal_init=0'
        : table.fs_options,
    discardsBlocks: table.discard_blocks,
    removesLater: table.async_remove,
  };
}

/** `10GB`, `512MiB`, `1024`: all units are powers of 1024, as in containerd. */
function parseSize(text: string): bigint {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp]?)i?b?$/i.exec(text.trim());
  const power = ' kmgtp'.indexOf((match?.[2] ?? '').toLowerCase() || ' ');
  const bytes = Math.floor(Number(match?.[1]) * 1024 ** power);
  if (match === null || !Number.isSafeInteger(bytes) || bytes === 0) {
    throw invalid(`failed to parse base image size: '${text}'`);
  }
  return BigInt(bytes);
}

function invalid(why: string): TsError {
  return new TsError('InvalidArgument', `devmapper: ${why}`);
}
