import { FileType } from '../linux/constants/file.ts';
import type { EntryStat } from '../linux/entry.ts';
import { typeOf } from './file-kind.ts';
import type { TarEntryType } from './tar-entry.ts';

const TYPES = new Map<number, TarEntryType>([
  [FileType.S_IFREG, 'file'],
  [FileType.S_IFDIR, 'directory'],
  [FileType.S_IFLNK, 'symlink'],
  [FileType.S_IFCHR, 'character-device'],
  [FileType.S_IFBLK, 'block-device'],
  [FileType.S_IFIFO, 'fifo'],
]);

/** How tar names a file's kind; undefined for a socket, which it has no name for. */
export function entryType(stat: EntryStat): TarEntryType | undefined {
  return TYPES.get(typeOf(stat));
}
