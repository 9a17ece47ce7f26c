// The floor under each of our programs: an empty one in the same Node with the same options.
import { join } from 'node:path';
import { type Binary, binaries } from '../../build/binaries.ts';
import { baseNode, koffiAddon } from '../../build/platform.ts';
import { makeSea } from '../../build/sea.ts';

const root = join(import.meta.dirname, '../..');

/** Builds it at `path`. It exits as ours do, at once, unless it has other `code`: that is the harder mark. */
export function makeEmptyProgram(binary: Binary, path: string, code = 'process.exit(0);'): void {
  const arch = process.arch === 'arm64' ? 'arm64' : 'x64';
  const node = baseNode(root, arch, binary.memory);
  const assets = { 'koffi.node': koffiAddon(root, arch) };
  makeSea({ binary, code, node, cacheMaker: [node], hostNode: node, assets }, path);
}

/** The options that `name` is built with. Throws an Error when there is no such program. */
export function binaryOf(name: string): Binary {
  const binary = binaries[name];
  if (binary === undefined) throw new Error(`there is no program ${name}`);
  return binary;
}
