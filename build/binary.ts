// node build/binary.ts NAME… [--arch x64|arm64] [--out DIR]: builds programs as single executables (see the Makefile).
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { type Arch, type Binary, binaries } from './binaries.ts';
import { bundle, bundleWorker } from './bundle.ts';
import { baseNode, cacheMaker, koffiAddon } from './platform.ts';
import { makeSea } from './sea.ts';

const root = join(import.meta.dirname, '..');
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { arch: { type: 'string', default: process.arch }, out: { type: 'string' } },
});
const arch = parseArch(values.arch);
const out = values.out ?? join(root, 'dist', arch === process.arch ? '' : arch, 'bin');
mkdirSync(out, { recursive: true });

for (const name of positionals) {
  const binary = binaries[name];
  if (binary === undefined) {
    throw new Error(`build ${name}: there is no such program, only ${Object.keys(binaries)}`);
  }
  const { code, chunks, inputs } = await bundle(root, binary.entry, binary.parts, arch);
  const target = join(out, name);
  const workers = await bundleWorkers(binary);
  makeSea(
    {
      binary,
      code,
      chunks,
      node: baseNode(root, arch, binary.memory),
      cacheMaker: cacheMaker(root, arch),
      hostNode: process.execPath,
      assets: { 'koffi.node': koffiAddon(root, arch), ...workers.assets },
    },
    target,
  );
  // Programs that are built somewhere else are no business of make's.
  if (values.out === undefined) writeDependencies(target, [...inputs, ...workers.inputs]);
}

/** The bundles of a program's worker threads, by the names of the assets that they become. */
async function bundleWorkers(
  binary: Binary,
): Promise<{ assets: Record<string, Buffer>; inputs: string[] }> {
  const assets: Record<string, Buffer> = {};
  const inputs: string[] = [];
  for (const [name, entry] of Object.entries(binary.workers ?? {})) {
    const worker = await bundleWorker(root, entry, arch);
    assets[name] = Buffer.from(worker.code);
    inputs.push(...worker.inputs);
  }
  return { assets, inputs };
}

/** A file for make beside the others of the build: the sources of the program, so that it is rebuilt when one changes. */
function writeDependencies(target: string, inputs: readonly string[]): void {
  const file = join(dirname(dirname(target)), 'deps', `${relative(dirname(target), target)}.d`);
  mkdirSync(dirname(file), { recursive: true });
  const sources = [...new Set(inputs)].filter((path) => !path.startsWith('node_modules/'));
  const phony = sources.map((path) => `${path}:\n`).join('');
  writeFileSync(file, `${relative(root, target)}: ${sources.join(' ')}\n${phony}`);
}

function parseArch(name: string): Arch {
  if (name === 'x64' || name === 'arm64') return name;
  if (name === 'amd64' || name === 'x86_64') return 'x64';
  if (name === 'aarch64') return 'arm64';
  throw new Error(`build for ${name}: only x64 (amd64) and arm64 are supported`);
}
