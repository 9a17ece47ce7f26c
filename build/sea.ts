// Makes a single-executable application: Node, a launcher, a bundle, its code cache and koffi's addon in one file.
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import type { Binary } from './binaries.ts';
import { CACHE_SUFFIX, chunkFunction } from './chunk-loader.ts';
import { compileAhead } from './code-cache.ts';
import { CACHE_ASSET, PROGRAM_ASSET } from './launcher.ts';

/** The marker in Node's executable that says whether a resource was injected. Source: Node's documentation, SEA. */
const SENTINEL = 'NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2';

/** What an SEA is made of. */
export interface SeaInput {
  readonly binary: Binary;
  /** The bundled program: its entry point, and the chunks that it loads, by name. */
  readonly code: string;
  readonly chunks?: ReadonlyMap<string, string>;
  /** The bundled main script, which runs the program (launcher.ts). */
  readonly launcher: string;
  /** The stripped Node of the target architecture; left as it is. */
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
    writeFileSync(executable, readFileSync(input.node));
    inject(input, executable, makeBlob(input, dir));
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
  writeFileSync(main, input.launcher);
  writeFileSync(
    config,
    JSON.stringify({
      main,
      output: blob,
      disableExperimentalSEAWarning: true,
      useSnapshot: false,
      useCodeCache: false, // of the launcher; the program's is an asset
      execArgv: [...v8Options, ...nodeOptions],
      // Else NODE_OPTIONS could add `--require FILE`: code of whoever sets the environment.
      execArgvExtension: 'none',
      assets: assetFiles({ ...input.assets, ...programAssets(input, dir) }, dir),
    }),
  );
  const [command = input.hostNode, ...prefix] = input.cacheMaker ?? [];
  const args = [...prefix, ...v8Options, '--experimental-sea-config', config];
  run(command, args, `make sea blob for ${input.binary.entry}`);
  return blob;
}

/** The program as a function of its CommonJS scope, and its cache: empty where none can be made. */
function programAssets(input: SeaInput, dir: string): Record<string, string | Buffer> {
  const source = join(dir, PROGRAM_ASSET);
  const cache = join(dir, CACHE_ASSET);
  const text = `(function(require,module,exports,__filename,__dirname){${input.code}\n})`;
  writeFileSync(source, escapeBeyondLatin1(text), 'latin1');
  if (input.cacheMaker === undefined)
    return { [PROGRAM_ASSET]: source, [CACHE_ASSET]: Buffer.of(0) };
  const [command = input.hostNode, ...prefix] = input.cacheMaker;
  const script = join(import.meta.dirname, 'compile-eagerly.ts');
  const args = [...prefix, ...input.binary.v8Options, script, source, cache];
  run(command, args, `compile ${input.binary.entry}`);
  return { [PROGRAM_ASSET]: source, [CACHE_ASSET]: cache };
}

/** Escapes are the same to V8 within strings, which is where a bundle has such characters. */
function escapeBeyondLatin1(text: string): string {
  return text.replace(
    /[\u0100-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
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

function chunkAssets(input: SeaInput, dir: string): Record<string, Buffer> {
  const { head, tail } = chunkFunction;
  const texts = new Map([...(input.chunks ?? [])].map(([name, code]) => [name, head + code + tail]));
  if (texts.size === 0) return {};
  const { v8Options, compile } = input.binary;
  const compiled =
    input.cacheMaker === undefined
      ? []
      : compileAhead(input.cacheMaker, v8Options, compile, texts, dir);
  return Object.fromEntries([
    ...[...texts].map(([name, text]) => [name, Buffer.from(text, 'latin1')] as const),
    ...[...compiled].map(([name, bytes]) => [name + CACHE_SUFFIX, bytes] as const),
  ]);
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
