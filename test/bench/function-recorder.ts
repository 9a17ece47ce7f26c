// Builds a program so that it counts the calls of its functions, and reads what it wrote down: which of them the build
// has to compile ahead (build/code-cache.ts).
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Binary, binaries } from '../../build/binaries.ts';
import { bundle, bundleWorker } from '../../build/bundle.ts';
import { chunkFunction, chunkLoader } from '../../build/chunk-loader.ts';
import { type CountedFunction, calledKeys } from '../../build/function-keys.ts';
import { baseNode, koffiAddon } from '../../build/platform.ts';
import { makeSea } from '../../build/sea.ts';

const root = join(import.meta.dirname, '../..');

/** The files of a program by name, as they are counted. */
export type Chunks = ReadonlyMap<string, string>;

/**
 * Builds the program `name` to the file `output`, with `recorder` in place of its entry point: JavaScript that runs one of
 * the parts by `require.part` and writes what the inspector's Profiler counted, as JSON. Or with `recorder` before the entry
 * point, which then runs as it does.
 */
export async function buildRecording(
  name: string,
  recorder: string,
  output: string,
  place: 'instead' | 'before' = 'instead',
): Promise<Chunks> {
  const binary = binaries[name];
  if (binary === undefined) throw new Error(`no program ${name}`);
  const { code, chunks } = await bundle(root, binary.entry, binary.parts, 'x64');
  const workers = await Promise.all(
    Object.entries(binary.workers ?? {}).map(async ([asset, entry]) => {
      const { code } = await bundleWorker(root, entry, 'x64');
      return [asset, Buffer.from(code)] as const;
    }),
  );
  makeSea(
    {
      binary: withoutCalled({ ...binary, compile: 'outermost', parts: [] }),
      code: place === 'before' ? recorder + code : chunkLoader + recorder,
      chunks,
      node: baseNode(root, 'x64'),
      cacheMaker: [baseNode(root, 'x64')],
      hostNode: process.execPath,
      assets: { 'koffi.node': koffiAddon(root, 'x64'), ...Object.fromEntries(workers) },
    },
    output,
  );
  return chunks;
}

/** Nothing is compiled ahead: what the list has may be of another version. */
function withoutCalled({ called: _, ...binary }: Binary): Binary {
  return binary;
}

/** The keys of all functions that were called according to the files in a directory. */
export function recordedKeys(directory: string, chunks: Chunks): Set<string> {
  const called = new Set<string>();
  const { head, tail } = chunkFunction;
  for (const file of readdirSync(directory)) {
    const text = readFileSync(join(directory, file), 'utf8');
    const scripts = JSON.parse(text) as { url: string; functions: CountedFunction[] }[];
    for (const { url, functions } of scripts) {
      for (const key of calledKeys(head + (chunks.get(url) ?? '') + tail, functions))
        called.add(key);
    }
  }
  return called;
}
