// Bundles a program and all it imports into CommonJS files, the only module format that an SEA runs with a code cache: one
// for the entry point, and one for each part that only a dynamic import() reaches, so that a command pays for what it uses.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BuildOptions, build, transform } from 'esbuild';
import { chunkLoader } from './chunk-loader.ts';
import { revision } from './revision.ts';

/** What a bundle consists of; `inputs` are the source files, relative to `root`, for a build that asks what changed. */
export interface Bundle {
  /** The entry point. When there are chunks, it begins with what loads them. */
  readonly code: string;
  /** The other files by the name under which they are required: `./NAME.js`. */
  readonly chunks: ReadonlyMap<string, string>;
  readonly inputs: readonly string[];
}

/**
 * Bundles `entry` (relative to `root`). Throws an Error when esbuild finds an error or has a warning: a warning means
 * code that works from sources and not in a bundle, for example `import.meta` without a substitute.
 */
export async function bundle(root: string, entry: string): Promise<Bundle> {
  // Only ES modules are split; what comes out is then made CommonJS, file by file.
  const { files, inputs } = await run(root, entry, {
    format: 'esm',
    splitting: true,
    outdir: 'out',
    entryNames: 'main',
    chunkNames: '[name]-[hash]',
  });
  const chunks = new Map<string, string>();
  let code = '';
  for (const [name, text] of files) {
    const commonJs = await asCommonJs(text);
    if (name === 'main.js') code = commonJs;
    else chunks.set(name, commonJs);
  }
  if (chunks.size > 0) code = `${chunkLoader}${code}`;
  return { code, chunks, inputs };
}

/** Bundles the entry point of a worker thread, which gets its code as one text. */
export async function bundleWorker(root: string, entry: string): Promise<Omit<Bundle, 'chunks'>> {
  const { files, inputs } = await run(root, entry, { format: 'cjs', outdir: 'out' });
  return { code: [...files.values()].join(''), inputs };
}

async function run(
  root: string,
  entry: string,
  options: BuildOptions,
): Promise<{ files: Map<string, string>; inputs: string[] }> {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    version: string;
  };
  const result = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    write: false,
    metafile: true,
    platform: 'node',
    target: 'node26',
    // Names stay: they are in stack traces and error texts. White space and long forms go: V8 reads less.
    minifyWhitespace: true,
    minifySyntax: true,
    // ASCII alone: V8 then keeps the text with one byte for a character.
    charset: 'ascii',
    legalComments: 'none',
    logLevel: 'silent',
    // koffi's native part is an asset of the SEA (see sea.ts), not a part of the code.
    loader: { '.node': 'empty' },
    define: {
      BUILD_VERSION: JSON.stringify(version),
      BUILD_REVISION: JSON.stringify(revision(root)),
      'import.meta.dirname': '__dirname',
      'import.meta.filename': '__filename',
      'import.meta.main': 'true',
    },
    ...options,
  }).catch((error: unknown) => {
    throw new Error(`bundle ${entry}: ${error instanceof Error ? error.message : String(error)}`);
  });
  if (result.warnings.length > 0) {
    const lines = result.warnings.map((w) => `${w.location?.file}:${w.location?.line}: ${w.text}`);
    throw new Error(`bundle ${entry}: ${lines.join('; ')}`);
  }
  const files = (result.outputFiles ?? []).map((file) => {
    return [file.path.split('/').at(-1) ?? '', file.text] as const;
  });
  // Chunks are stored and read with one byte for a character; esbuild escapes the others in strings.
  const wide = files.find(([, text]) => /[\u0100-\uffff]/.test(text));
  if (wide !== undefined)
    throw new Error(`bundle ${entry}: ${wide[0]} has characters beyond Latin-1`);
  return { files: new Map(files), inputs: Object.keys(result.metafile?.inputs ?? {}) };
}

async function asCommonJs(code: string): Promise<string> {
  const result = await transform(code, {
    format: 'cjs',
    platform: 'node',
    target: 'node26',
    minifyWhitespace: true,
    charset: 'ascii',
    // import() becomes require(), which the loader of chunks serves.
    supported: { 'dynamic-import': false },
  });
  return result.code;
}
