/** Copies of files with their owner and mode, inside a program: as the process that copies sees them. */
import { AtFlag, FileType } from '../constants/file.ts';
import { flags } from '../constants/flags.ts';
import { type Field, Memory, Named, type Value } from '../program/argument.ts';
import type { Sequence } from '../program/sequence.ts';
import type { Step } from '../program/step.ts';
import { close, deviceNumber, makeDirectory, makeSymlink, open } from './files.ts';

/** What is copied: the program is made for a certain kind, and fails if something else is there by then. */
export type CopiedFile =
  | { readonly kind: 'directory' }
  | { readonly kind: 'file'; readonly bytes: number }
  | { readonly kind: 'symlink'; readonly target: string }
  | {
      readonly kind: 'special';
      readonly type: 'S_IFIFO' | 'S_IFSOCK' | 'S_IFCHR' | 'S_IFBLK';
      readonly major: number;
      readonly minor: number;
    };

/** struct statx (linux/stat.h): stx_uid at 20, stx_gid at 24, stx_mode (16 bits) at 28. */
const STATX_BYTES = 256;
const STATX_BASIC_STATS = new Named(0x7ff, 'STATX_BASIC_STATS');
/** sendfile(2) copies no more at once. */
const GREATEST_COPY_BYTES = 0x7ffff000;

/**
 * Copies `path` from one directory tree to the same place in another one, to which nobody else has
 * access yet; the directory above it must be there. Owner and mode are taken when the program runs, so
 * that user namespaces and mapped ids are what the copying process sees. Symlinks are not followed.
 */
export function copyFile(
  sequence: Sequence,
  trees: { readonly from: Value; readonly to: Value },
  path: string,
  file: CopiedFile,
  label: string,
): void {
  const { from, to } = trees;
  const stat = new Memory(STATX_BYTES, () => '&statx');
  const at = flags(AtFlag, ['AT_SYMLINK_NOFOLLOW']);
  const statx: Step = { label, call: 'statx', args: [from, path, at, STATX_BASIC_STATS, stat] };
  sequence.add(statx, { label });
  sequence.add(make(to, path, file), { label });
  if (file.kind === 'file') copyContent(sequence, trees, path, file.bytes, label);
  sequence.add({ label, call: 'fchownat', args: [to, path, uid(stat), gid(stat), at] }, { label });
  if (file.kind === 'symlink') return;
  // The kernel takes the low 16 bits, of which the file type does not count. After chown, which clears setuid.
  sequence.add({ label, call: 'fchmodat', args: [to, path, mode(stat)] }, { label });
}

/** These words hold more than the id and the mode, which are the low bits: the kernel takes no others. */
const uid = (stat: Memory): Field => stat.field(20, 'statx.stx_uid');
const gid = (stat: Memory): Field => stat.field(24, 'statx.stx_gid');
const mode = (stat: Memory): Field => stat.field(28, 'statx.stx_mode');

function make(to: Value, path: string, file: CopiedFile): Step {
  switch (file.kind) {
    case 'directory':
      return makeDirectory(path, OWNER_ONLY | 0o100, to);
    case 'symlink':
      return makeSymlink(file.target, path, to);
    case 'file':
      return makeNode(to, path, 'S_IFREG', 0);
    default:
      return makeNode(to, path, file.type, deviceNumber(file.major, file.minor));
  }
}

const OWNER_ONLY = 0o600;

function makeNode(to: Value, path: string, type: FileType, device: number): Step {
  const typeAndMode = new Named(FileType[type] | OWNER_ONLY, () => `${type}|0600`);
  return { label: `mknod ${path}`, call: 'mknodat', args: [to, path, typeAndMode, device] };
}

function copyContent(
  sequence: Sequence,
  { from, to }: { readonly from: Value; readonly to: Value },
  path: string,
  bytes: number,
  label: string,
): void {
  const resolve = ['RESOLVE_BENEATH', 'RESOLVE_NO_SYMLINKS'] as const;
  // What has become a fifo or a device meanwhile must not make this wait.
  const read = ['O_RDONLY', 'O_NONBLOCK', 'O_NOCTTY'] as const;
  const source = sequence.add(open({ directory: from, path, flags: read, resolve }), { label });
  const target = sequence.add(open({ directory: to, path, flags: ['O_WRONLY'], resolve }), {
    label,
  });
  // Once more than is needed: a full file system is an error only to the copy after the one that filled it.
  for (let copied = -GREATEST_COPY_BYTES; copied < bytes; copied += GREATEST_COPY_BYTES) {
    const args = [target, source, null, GREATEST_COPY_BYTES];
    sequence.add({ label, call: 'sendfile', args }, { label, retryOn: 'EINTR' });
  }
  sequence.add(close(target));
  sequence.add(close(source));
}
