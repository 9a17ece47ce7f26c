// Makes a single-executable application: Node, a bundle, its compiled code and koffi's addon in one file.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import type { Binary } from './binaries.ts';
import { partName } from './bundle.ts';
import { CACHE_SUFFIX, chunkFunction, PARTS_ASSET, packParts } from './chunk-loader.ts';
import { compileAhead } from './code-cache.ts';
import { matchCode } from './matching-code.ts';

/** The marker in Node's executable that says whether a resource was injected. Source: Node's documentation, SEA. */
const SENTINEL = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/** What an SEA is made of. */
export interface SeaInput {
  readonly binary: Binary;
  /** The bundled program: its entry point, and the chunks that it loads, by name. */
  readonly code: string;
  readonly chunks?: ReadonlyMap<string, string>;
  /** The lean Node of the target architecture (lean-node.ts); left as it is. */
  readonly node: string;
  /**
   * How to run a Node of the target architecture, so that it compiles the code cache: its path, behind an emulator's
   * if need be. Without it the SEA has no code cache and V8 compiles the program at each start.
   */
  readonly cacheMaker: readonly string[] | undefined;
  /** Any Node that runs here, of the same version; it makes the blob when there is no `cacheMaker`. */
  readonly hostNode: string;
  /** What the program reads with sea.getRawAsset, by name: the path of a file, or content. */
  readonly assets: Readonly<Record<string, string | Buffer>>;
}

/** Writes the executable to `output` in one step (rename): a reader sees the old file or the new one. */
export function makeSea(input: SeaInput, output: string): void {
  const dir = mkdtempSync(join(dirname(output), `.${basename(output)}-`));
  try {
    const executable = join(dir, 'node');
    const node = readFileSync(input.node);
    const { cacheMaker, binary } = input;
    if (cacheMaker !== undefined) matchCode(node, cacheMaker, [], binary.v8Options);
    writeFileSync(executable, node);
    inject(input, executable, makeBlob(input, dir));
    if (binary.isShortLived === true) writeInOnePiece(executable);
    chmodSync(executable, 0o755);
    renameSync(executable, output);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function makeBlob(input: SeaInput, dir: string): string {
  const main = join(dir, 'main.cjs');
  const blob = join(dir, 'sea.blob');
  const config = join(dir, 'sea.json');
  const { v8Options, nodeOptions } = input.binary;
  writeFileSync(main, input.code);
  writeFileSync(
    config,
    JSON.stringify({
      main,
      output: blob,
      disableExperimentalSEAWarning: true,
      useSnapshot: false,
      useCodeCache: input.cacheMaker !== undefined,
      execArgv: [...v8Options, ...nodeOptions],
      // Else NODE_OPTIONS could add `--require FILE`: code of whoever sets the environment.
      execArgvExtension: 'none',
      assets: assetFiles({ ...input.assets, ...chunkAssets(input, dir) }, dir),
    }),
  );
  const maker = input.cacheMaker ?? [input.hostNode];
  const [command = '', ...prefix] = maker;
  // What begins a short-lived program is short itself, and all of it is called.
  const made = input.binary.isShortLived === true ? [...v8Options, '--no-lazy'] : v8Options;
  const args = [...prefix, ...made, '--experimental-sea-config', config];
  run(command, args, `make sea blob for ${input.binary.entry}`);
  if (made === v8Options || input.cacheMaker === undefined) return blob;
  const bytes = readFileSync(blob);
  if (matchCode(bytes, maker, made, v8Options) !== 1) {
    throw new Error(
      `make sea blob for ${input.binary.entry}: its compiled code is not as expected`,
    );
  }
  writeFileSync(blob, bytes);
  return blob;
}

/** Assets are given to Node as files. */
function assetFiles(
  assets: Readonly<Record<string, string | Buffer>>,
  dir: string,
): Record<string, string> {
  const files = Object.entries(assets).map(([name, asset], index) => {
    if (typeof asset === 'string') return [name, asset] as const;
    const file = join(dir, `asset-${index}`);
    writeFileSync(file, asset);
    return [name, file] as const;
  });
  return Object.fromEntries(files);
}

/** The chunks as functions of a CommonJS scope, and what V8 makes of them where it can be run. */
function chunkAssets(input: SeaInput, dir: string): Record<string, Buffer> {
  const { head, tail } = chunkFunction;
  const texts = new Map(
    [...(input.chunks ?? [])].map(([name, code]) => [name, head + code + tail]),
  );
  if (texts.size === 0) return {};
  const compiled = input.cacheMaker === undefined ? [] : compileChunks(input, texts, dir);
  const files = new Map<string, Buffer>();
  for (const [name, text] of texts) files.set(name, Buffer.from(text, 'latin1'));
  for (const [name, bytes] of compiled) files.set(name + CACHE_SUFFIX, bytes);
  return { [PARTS_ASSET]: packParts(files) };
}

/** Of a part of the program (of all of it when it has no parts) the functions that are known to be called, of the other chunks what the binary says. */
function compileChunks(
  { binary, cacheMaker = [] }: SeaInput,
  texts: ReadonlyMap<string, string>,
  dir: string,
): Map<string, Buffer> {
  const { v8Options, compile, parts = [], called } = binary;
  const ofParts = parts.map(({ entry }) => `${partName(entry)}.js`);
  const counted = parts.length === 0 ? texts.keys() : ofParts;
  const names = new Set(called === undefined ? [] : counted);
  const [some, others] = [true, false].map((isSome) => {
    return new Map([...texts].filter(([name]) => names.has(name) === isSome));
  });
  const list =
    called === undefined ? '[]' : readFileSync(join(import.meta.dirname, called), 'utf8');
  const keys = new Set(JSON.parse(list) as string[]);
  return new Map([
    ...compileAhead(cacheMaker, v8Options, compile, others ?? new Map(), dir),
    ...compileAhead(cacheMaker, v8Options, keys, some ?? new Map(), dir),
  ]);
}

/**
 * Writes a file anew by one call, whereas postject writes 512 KB at a time: the kernel then keeps it in the largest pages
 * that it has, if the file system can, and maps 2 MB of the program by each fault instead of 64 KB.
 */
function writeInOnePiece(path: string): void {
  const copy = `${path}.copy`;
  writeFileSync(copy, readFileSync(path));
  renameSync(copy, path);
}

/** postject prints warnings about section names that mean nothing here; its output is shown when it fails. */
function inject(input: SeaInput, executable: string, blob: string): void {
  const postject = join(dirname(createRequire(import.meta.url).resolve('postject')), 'cli.js');
  const args = [postject, executable, 'NODE_SEA_BLOB', blob, '--sentinel-fuse', SENTINEL];
  run(input.hostNode, args, `inject blob for ${input.binary.entry}`);
}

function run(command: string, args: readonly string[], what: string): void {
  const result = spawnSync(command, args, { encoding: 'utf8' });
  if (result.status === 0) return;
  const why = result.error?.message ?? `${result.stdout}${result.stderr}`.trim();
  throw new Error(`${what}: ${why}`);
}
