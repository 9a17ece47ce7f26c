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
import { makeLeanKoffi } from './lean-koffi.ts';
import { type FirstMemory, makeLeanNode } from './lean-node.ts';

/** What the lean Node and the lean addon are made by: when one of them changes, it is made anew. */
const MAKERS = [
  ...['lean-node.ts', 'lean-koffi.ts', 'prepared-memory.ts', 'huge-heap.ts'],
  ...['dynamic-symbols.ts', 'strip-elf.ts', 'elf.ts'],
];

/** The lean Node of `arch` (lean-node.ts); made once and kept below dist/. */
export function baseNode(root: string, arch: Arch, memory: FirstMemory = 'as-used'): string {
  const source = join(packageDirectory(root, `node-linux-${arch}`, arch), 'bin/node');
  const lean = join(root, 'dist/cache', arch, `node-${memory}`);
  return madeOnce(source, lean, (published) => makeLeanNode(published, memory));
}

/** koffi's native addon for `arch` and glibc, made lean (lean-koffi.ts); made once and kept below dist/. */
export function koffiAddon(root: string, arch: Arch): string {
  const directory = packageDirectory(root, `@koromix/koffi-linux-${arch}`, arch);
  const source = join(directory, `linux_${arch}`, 'koffi.node');
  return madeOnce(source, join(root, 'dist/cache', arch, 'koffi.node'), makeLeanKoffi);
}

function madeOnce(source: string, lean: string, make: (published: Buffer) => Buffer): string {
  const makers = MAKERS.map((name) => join(import.meta.dirname, name));
  const newest = Math.max(...[source, ...makers].map((path) => statSync(path).mtimeMs));
  if (existsSync(lean) && statSync(lean).mtimeMs >= newest) return lean;
  mkdirSync(dirname(lean), { recursive: true });
  const partial = `${lean}.${process.pid}`;
  writeFileSync(partial, make(readFileSync(source)));
  chmodSync(partial, 0o755);
  renameSync(partial, lean);
  return lean;
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
