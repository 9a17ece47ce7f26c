/**
 * The mount option `tmpcopyup`: a tmpfs that starts with a copy of what it covers. Which files there are is looked
 * up when the container is planned; the program then copies them by fd, so that nothing leads out of the directory.
 */
import { lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { errnoNameOf, TsError } from '../errors/index.ts';
import { type Sequence, steps, type Value } from '../linux/index.ts';

/** A file to copy, by its path below the directory; a directory comes before what is in it. */
export interface CopyUpEntry {
  readonly path: string;
  readonly file: steps.CopiedFile;
}

/** Every file is some ten steps: more than this is not what the option is for. */
const GREATEST_COUNT = 50_000;

/**
 * Lists what is in a directory of the host; nothing if it is not there. Throws InvalidArgument naming `property`
 * if that is too much to copy.
 */
export function planCopyUp(directory: string, property: string): CopyUpEntry[] {
  const entries: CopyUpEntry[] = [];
  const list = (below: string): void => {
    for (const name of namesIn(below === '' ? directory : `${directory}/${below}`, property)) {
      const path = below === '' ? name : `${below}/${name}`;
      if (entries.length === GREATEST_COUNT) throw tooMany(directory, property);
      const file = describe(`${directory}/${path}`);
      entries.push({ path, file });
      if (file.kind === 'directory') list(path);
    }
  };
  list('');
  return entries;
}

function namesIn(directory: string, property: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (thrown) {
    const errno = errnoNameOf(thrown) ?? 'EIO';
    if (errno === 'ENOENT' || errno === 'ENOTDIR') return [];
    throw TsError.from(thrown, `config.json: ${property}: tmpcopyup: read ${directory}`);
  }
}

function tooMany(directory: string, property: string): TsError {
  const problem = `tmpcopyup of ${directory}, which has more than ${GREATEST_COUNT} files`;
  return new TsError('InvalidArgument', `config.json: ${property}: ${problem}`, {
    code: 'TS_COPY_UP_TOO_MUCH',
    advice: 'leave tmpcopyup out, or use an overlay mount',
    fields: { property },
  });
}

function describe(path: string): steps.CopiedFile {
  const stat = lstatSync(path);
  if (stat.isDirectory()) return { kind: 'directory' };
  if (stat.isFile()) return { kind: 'file', bytes: stat.size };
  if (stat.isSymbolicLink()) return { kind: 'symlink', target: readlinkSync(path) };
  const { major, minor } = deviceOf(stat.rdev);
  if (stat.isFIFO()) return { kind: 'special', type: 'S_IFIFO', major: 0, minor: 0 };
  if (stat.isSocket()) return { kind: 'special', type: 'S_IFSOCK', major: 0, minor: 0 };
  const type = stat.isBlockDevice() ? 'S_IFBLK' : 'S_IFCHR';
  return { kind: 'special', type, major, minor };
}

/** st_rdev as glibc has it: 12 bits of the major number, and the minor's lower 8 below, upper bits above it. */
function deviceOf(rdev: number): { major: number; minor: number } {
  return {
    major: Math.floor(rdev / 2 ** 8) & 0xfff,
    minor: (rdev & 0xff) | (Math.floor(rdev / 2 ** 12) & 0xfff00),
  };
}

/** Adds the copying, from the directory that will be covered to a file system that is not attached yet. */
export function addCopyUp(
  sequence: Sequence,
  trees: { readonly from: Value; readonly to: Value },
  entries: readonly CopyUpEntry[],
  purpose: string,
): void {
  for (const { path, file } of entries) {
    steps.copyFile(sequence, trees, path, file, `${purpose}: copy up ${path}`);
  }
}
