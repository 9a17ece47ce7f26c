/**
 * Loads koffi's native addon, without koffi's JavaScript (7–12 ms at start-up; this: 1 ms).
 *
 * In a single-executable application the addon is the asset `koffi.node`. dlopen(3) needs a file:
 * it is written to an unnamed one (O_TMPFILE) and opened through /proc/self/fd, so nothing is left
 * on disk and there is no name that another user could swap between the write and the load. Programs
 * of which many run at once share one file instead (addon-file.ts).
 */
import { accessSync, closeSync, constants, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { getRawAsset, isSea } from 'node:sea';
import type * as Koffi from 'koffi';
import { TsError } from '../errors/index.ts';
import { addonDirectory, openSharedAddon } from './addon-file.ts';

/** What koffi's addon exports. */
export type KoffiModule = typeof Koffi;

let loaded: KoffiModule | undefined;

/** The addon, loaded at the first call. Throws `Unavailable` if no directory lets it be mapped. */
export function koffi(): KoffiModule {
  loaded ??= isSea() ? loadAsset(addonDirectories()) : loadFile(installedAddon());
  return loaded;
}

/** Whether {@link koffi} has been called with success. */
export function isKoffiLoaded(): boolean {
  return loaded !== undefined;
}

function loadFile(path: string): KoffiModule {
  const module = { exports: {} };
  process.dlopen(module, path);
  return module.exports as KoffiModule;
}

/** The addon of the npm package for this architecture, for sources run in place. */
function installedAddon(): string {
  const platform = `linux-${process.arch}`;
  return join(
    import.meta.dirname,
    `../../node_modules/@koromix/koffi-${platform}/${platform.replace('-', '_')}/koffi.node`,
  );
}

/** Where the unnamed file may live: memory before disk, what is private before what is shared. */
function addonDirectories(): string[] {
  const runtimeDir = process.env['XDG_RUNTIME_DIR'];
  const own = runtimeDir?.startsWith('/') ? [runtimeDir] : [];
  return ['/run', ...own, '/dev/shm', '/tmp', '/var/tmp', '/'];
}

function loadAsset(directories: readonly string[]): KoffiModule {
  const addon = new Uint8Array(getRawAsset('koffi.node'));
  const name = addonDirectory();
  const shared = name === undefined ? undefined : loadShared(name, addon, directories);
  return shared ?? loadThroughUnnamedFile(addon, directories);
}

/** Undefined when no directory can have such a file. */
export function loadShared(
  name: string,
  addon: Uint8Array,
  directories: readonly string[],
): KoffiModule | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  for (const directory of directories) {
    try {
      const probe = () => closeSync(openUnnamedFile(directory));
      const fd = openSharedAddon(join(directory, name), 'koffi.node', addon, probe);
      try {
        return loadFile(`/proc/self/fd/${fd}`);
      } finally {
        closeSync(fd);
      }
    } catch {
      // It is refused there, by the file system or because it is not root's alone: an unnamed file will do.
    }
  }
  return undefined;
}

/**
 * Loads an addon from memory. A directory that is not writable, whose file system has no O_TMPFILE
 * or which is mounted noexec is refused by the kernel, and the next one is tried.
 */
export function loadThroughUnnamedFile(
  addon: Uint8Array,
  directories: readonly string[],
): KoffiModule {
  const refusals: string[] = [];
  for (const directory of directories) {
    try {
      return loadFrom(directory, addon);
    } catch (thrown) {
      refusals.push(`${directory} (${thrown instanceof Error ? thrown.message : String(thrown)})`);
    }
  }
  throw new TsError('Unavailable', `load koffi.node: ${refusals.join(', ')}`, {
    code: 'TS_KOFFI_NO_DIRECTORY',
    advice: 'make one of these directories writable and mount it without noexec',
  });
}

/** O_TMPFILE implies O_DIRECTORY, whose value differs between architectures (man 2 open). */
const O_TMPFILE = 0o20000000 | constants.O_DIRECTORY;

/** Throws where files may not be executed. */
function openUnnamedFile(directory: string): number {
  const fd = openSync(directory, O_TMPFILE | constants.O_RDWR, 0o700);
  try {
    // A file that root may execute by its mode is refused only on a noexec file system (Debian's /run
    // is one): said before the addon is written there in vain.
    accessSync(`/proc/self/fd/${fd}`, constants.X_OK);
    return fd;
  } catch (thrown) {
    closeSync(fd);
    throw thrown;
  }
}

function loadFrom(directory: string, addon: Uint8Array): KoffiModule {
  const fd = openUnnamedFile(directory);
  try {
    let written = 0;
    while (written < addon.length) written += writeSync(fd, addon, written);
    return loadFile(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd); // the mapping keeps the file alive
  }
}
