/**
 * A file for a native addon that several processes map, so that its pages are in memory once: for a program of which many
 * run at once and for long. Of an unnamed file each would have its own pages, and all of its bytes where the file system is
 * memory.
 *
 * The attack: whoever can write the file, or put another in its place, runs code as root in each of these processes. So it
 * is for root alone, in a directory that is root's and that nobody else can enter; directory and file are opened once
 * without following links, looked at by descriptor, and the file is compared with the addon, byte by byte, before the
 * same descriptor is mapped.
 */
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { errnoNameOf, TsError } from '../errors/index.ts';

const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL, O_DIRECTORY, O_NOFOLLOW, X_OK } = constants;
/** Neither group nor others. */
const OTHERS = 0o077;
/** At a time. */
const COMPARED_BYTES = 64 << 10;

let directoryName: string | undefined;

/**
 * Has koffi loaded from a file that all processes share which say the same, in a directory of this name. Before koffi is
 * used for the first time; for users other than root it changes nothing.
 */
export function shareAddon(directory: string): void {
  directoryName = directory;
}

/** What {@link shareAddon} was called with. */
export function addonDirectory(): string | undefined {
  return directoryName;
}

/**
 * A descriptor of the file `name` in `directory` that holds `addon`; the directory and the file are made, or the file is
 * made anew, if need be. `probe` throws when files beside the directory may not be mapped as code. Throws `PermissionDenied`
 * for what is not root's alone, and what the file system refuses.
 */
export function openSharedAddon(
  directory: string,
  name: string,
  addon: Uint8Array,
  probe: () => void,
): number {
  const made = openDirectory(directory) ?? makeDirectory(directory, probe);
  try {
    const within = `/proc/self/fd/${made}`;
    return openSame(join(within, name), addon) ?? write(within, name, addon);
  } finally {
    closeSync(made);
  }
}

function makeDirectory(path: string, probe: () => void): number {
  probe();
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (thrown) {
    if (errnoNameOf(thrown) !== 'EEXIST') throw thrown; // another was quicker
  }
  const fd = openDirectory(path);
  if (fd === undefined) throw new TsError('Unavailable', `open ${path}: ENOENT`);
  return fd;
}

/** Undefined when there is none. */
function openDirectory(path: string): number | undefined {
  const fd = openExisting(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd !== undefined) expectOwn(fd, path);
  return fd;
}

/** Undefined when there is no such file, or one of another version. */
function openSame(path: string, addon: Uint8Array): number | undefined {
  const fd = openExisting(path, O_RDONLY | O_NOFOLLOW);
  if (fd === undefined) return undefined;
  expectOwn(fd, path);
  try {
    accessSync(`/proc/self/fd/${fd}`, X_OK); // else dlopen(3) fails, on a file system that is noexec by now
    if (isSame(fd, addon)) return fd;
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
  closeSync(fd);
  return undefined;
}

function openExisting(path: string, flags: number): number | undefined {
  try {
    return openSync(path, flags);
  } catch (thrown) {
    if (errnoNameOf(thrown) === 'ENOENT') return undefined;
    throw thrown;
  }
}

/** Closes the descriptor when it does not hold. */
function expectOwn(fd: number, path: string): void {
  const { uid, mode } = fstatSync(fd);
  if (uid === process.geteuid?.() && (mode & OTHERS) === 0) return;
  closeSync(fd);
  const text = `${path}: of uid ${uid}, mode ${(mode & 0o7777).toString(8)}: not this user's alone`;
  throw new TsError('PermissionDenied', text);
}

function isSame(fd: number, addon: Uint8Array): boolean {
  const bytes = Buffer.alloc(COMPARED_BYTES);
  for (let at = 0; ; ) {
    const read = readSync(fd, bytes, 0, bytes.length, at);
    if (read === 0) return at === addon.length;
    if (!bytes.subarray(0, read).equals(addon.subarray(at, at + read))) return false;
    at += read;
  }
}

/** Whole before it has its name; processes that have mapped an older file keep it. */
function write(directory: string, name: string, addon: Uint8Array): number {
  const partial = join(directory, `${name}.${process.pid}`);
  rmSync(partial, { force: true }); // of a process that died in the middle of this
  const fd = openSync(partial, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o500);
  try {
    for (let written = 0; written < addon.length; )
      written += writeSync(fd, addon, written, addon.length - written);
    renameSync(partial, join(directory, name));
    return fd;
  } catch (thrown) {
    closeSync(fd);
    rmSync(partial, { force: true });
    throw thrown;
  }
}
