// Makes the programs of a suite run on a machine with other libraries: runc of Debian sid wants a newer libc than
// bookworm has. Starting it through its own loader is no way out, since runtimes execute themselves again through
// /proc/self/exe, which would then be the loader. So the loader and the library path inside the file are changed, with
// patchelf, and only in files that cannot run here as they are: the others stay the distribution's, byte for byte.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { interpreter, isElf, parseElf } from '../../build/elf.ts';
import { run } from './apt.ts';

const PROGRAM_DIRECTORIES = ['bin', 'sbin', 'usr/bin', 'usr/sbin'];
const LIBRARY_DIRECTORIES = ['lib', 'usr/lib'];

/** Changes the programs below `tree` that do not find their libraries here; `tree` will be renamed to `final`. */
export function makeSelfContained(tree: string, final: string): void {
  const broken = programs(tree).filter((file) => !findsLibraries(file));
  if (broken.length === 0) return;
  const libraries = LIBRARY_DIRECTORIES.flatMap((directory) => multiarch(join(tree, directory)));
  const loader = libraries
    .flatMap((directory) => readdirSync(directory).map((name) => join(directory, name)))
    .find((path) => /\/ld-linux-[^/]*\.so\.\d+$/.test(path));
  if (loader === undefined)
    throw new Error(`adapt programs to this machine: ${tree} has no loader`);
  const inFinal = (path: string) => join(final, relative(tree, path));
  const patchelf = patchelfProgram(tree);
  for (const file of broken) {
    const path = libraries.map(inFinal).join(':');
    const args = ['--set-interpreter', inFinal(loader), '--force-rpath', '--set-rpath', path, file];
    run(patchelf, args, tree);
  }
}

function patchelfProgram(tree: string): string {
  const own = join(tree, 'usr/bin/patchelf');
  if (existsSync(own)) return own;
  // The suite of the oldest release has it and is installed first.
  const siblings = readdirSync(dirname(dirname(tree)), { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => join(entry.parentPath, entry.name, 'usr/bin/patchelf'))
    .filter((path) => existsSync(path));
  return siblings[0] ?? 'patchelf';
}

function programs(tree: string): string[] {
  const found = new Set<string>();
  for (const directory of PROGRAM_DIRECTORIES) {
    const path = join(tree, directory);
    if (!existsSync(path)) continue;
    for (const entry of readdirSync(path, { withFileTypes: true })) {
      const file = join(path, entry.name);
      if (entry.isSymbolicLink() || !entry.isFile()) continue;
      const bytes = readFileSync(file);
      if (isElf(bytes) && interpreter(parseElf(bytes)) !== undefined) found.add(realpathSync(file));
    }
  }
  return [...found];
}

function findsLibraries(file: string): boolean {
  const ldd = spawnSync('ldd', [file], { encoding: 'utf8', env: { LC_ALL: 'C', ...process.env } });
  return ldd.status === 0 && !`${ldd.stdout}${ldd.stderr}`.includes('not found');
}

function multiarch(directory: string): string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory)
    .filter((name) => name.endsWith('-linux-gnu'))
    .map((name) => join(directory, name))
    .filter((path) => statSync(path).isDirectory());
}
