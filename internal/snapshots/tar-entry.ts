/** What a tar header describes (POSIX.1-2001 pax; GNU tar; typeflags 0–7 and S). */
export type TarEntryType =
  | 'file'
  | 'hard-link'
  | 'symlink'
  | 'character-device'
  | 'block-device'
  | 'directory'
  | 'fifo';

/** A run of data inside a sparse file; what lies between runs is a hole. */
export interface SparseRun {
  readonly offset: number;
  readonly length: number;
}

/**
 * One entry of an archive. Paths are byte strings: one character for each byte (latin1), since a
 * Linux file name is bytes and need not be UTF-8; {@link displayPath} makes them readable.
 */
export interface TarEntry {
  readonly type: TarEntryType;
  readonly path: string;
  /** Target of a hard or symbolic link, else ''. */
  readonly linkPath: string;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes of data that follow the header in the archive. */
  readonly dataBytes: number;
  /** Size of the file; larger than `dataBytes` when it is sparse. */
  readonly sizeBytes: number;
  readonly mtimeNs: bigint;
  readonly devMajor: number;
  readonly devMinor: number;
  /** Extended attributes by name, as bytes. */
  readonly xattrs: ReadonlyMap<string, Buffer>;
  /** The runs of a sparse file, in ascending order; undefined for a dense one. */
  readonly sparse: readonly SparseRun[] | undefined;
}

/** A byte string as text for a person. */
export function displayPath(bytes: string): string {
  return Buffer.from(bytes, 'latin1').toString('utf8');
}
