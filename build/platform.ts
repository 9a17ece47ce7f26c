// Where the parts come from that depend on the architecture: Node itself and koffi's addon. Those of this machine's
// architecture are installed with the other packages; those of another one are fetched by npm (foreign-packages.ts).
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import type { Arch } from './binaries.ts';
import { foreignPackage } from './foreign-packages.ts';
import { stripElf } from './strip-elf.ts';

/** The stripped Node of `arch`; made once and kept below dist/. */
export function baseNode(root: string, arch: Arch): string {
  const source = join(packageDirectory(root, `node-linux-${arch}`, arch), 'bin/node');
  const stripped = join(root, 'dist/cache', arch, 'node');
  if (existsSync(stripped) && statSync(stripped).mtimeMs >= statSync(source).mtimeMs)
    return stripped;
  mkdirSync(dirname(stripped), { recursive: true });
  const partial = `${stripped}.${process.pid}`;
  writeFileSync(partial, stripElf(readFileSync(source)));
  chmodSync(partial, 0o755);
  renameSync(partial, stripped);
  return stripped;
}

/** koffi's native addon for `arch` and glibc. */
export function koffiAddon(root: string, arch: Arch): string {
  const directory = packageDirectory(root, `@koromix/koffi-linux-${arch}`, arch);
  return join(directory, `linux_${arch}`, 'koffi.node');
}

/**
 * How to run a Node of `arch` here: itself, or behind QEMU's user emulator when one is installed. Undefined when it
 * cannot be run.
 */
export function cacheMaker(root: string, arch: Arch): readonly string[] | undefined {
  const node = baseNode(root, arch);
  if (arch === process.arch) return [node];
  const machine = { x64: 'x86_64', arm64: 'aarch64' }[arch];
  for (const emulator of [`qemu-${machine}-static`, `qemu-${machine}`]) {
    const run = spawnSync(emulator, ['-version'], { stdio: 'ignore' });
    if (run.status === 0 && spawnSync(emulator, [node, '--version']).status === 0) {
      return [emulator, node];
    }
  }
  return undefined;
}

function packageDirectory(root: string, name: string, arch: Arch): string {
  if (arch === process.arch) return join(root, 'node_modules', name);
  return foreignPackage(root, name);
}
