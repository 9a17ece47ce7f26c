// Bundles a program and all it imports into CommonJS files, the only module format that an SEA runs with a code cache: one
// for the entry point, and one for each part that only a dynamic import() reaches, so that a command pays for what it uses.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BuildOptions, build, type Metafile, type Plugin, transform } from 'esbuild';
import { assembledListings } from './assembled-listings.ts';
import type { Arch } from './binaries.ts';
import { chunkLoader } from './chunk-loader.ts';
import { joinFiles, outputName, outputOf, staticClosure } from './joined-parts.ts';
import { putKnownValues } from './known-values.ts';
import { revision } from './revision.ts';

/** What a bundle consists of; `inputs` are the source files, relative to `root`, for a build that asks what changed. */
export interface Bundle {
  /** The entry point. When there are chunks, it begins with what loads them. */
  readonly code: string;
  /** The other files by the name under which they are required: `./NAME.js`. */
  readonly chunks: ReadonlyMap<string, string>;
  readonly inputs: readonly string[];
}

/** A program inside of another one: where it begins, and which of the sources that import() names it always needs. */
export interface Part {
  readonly entry: string;
  readonly always: readonly string[];
  /** Puts what is known at build time where it is used (known-values.ts). */
  readonly isShortLived?: boolean;
}

/**
 * Bundles `entry` (relative to `root`). Those of its import()s that name the entry of one of `parts` get a bundle of its
 * own, which shares no code with the others. `arch`: of the machine that runs it. Throws an Error when esbuild finds an error or has a warning: a warning means
 * code that works from sources and not in a bundle, for example `import.meta` without a substitute.
 */
export async function bundle(
  root: string,
  entry: string,
  parts: readonly Part[] = [],
  arch: Arch = process.arch === 'arm64' ? 'arm64' : 'x64',
): Promise<Bundle> {
  const names = new Map(parts.map((part) => [join(root, part.entry), partName(part.entry)]));
  const whole = await bundleSplit(root, { entry, always: [] }, 'main', names, arch);
  const { [MAIN]: code = '', ...chunks } = whole.texts;
  const inputs = new Set(whole.inputs);
  for (const part of parts) {
    const bundled = await bundleSplit(root, part, partName(part.entry), new Map(), arch);
    Object.assign(chunks, bundled.texts);
    for (const input of bundled.inputs) inputs.add(input);
  }
  const loader = Object.keys(chunks).length === 0 ? '' : chunkLoader;
  return { code: loader + code, chunks: new Map(Object.entries(chunks)), inputs: [...inputs] };
}

const MAIN = 'main.js';

/** The name of the part that begins in a file, without its ending: `cmd/x/single/run.ts` becomes `single-run`. */
export function partName(entry: string): string {
  return entry.split('/').slice(-2).join('-').replace(/\.ts$/, '');
}

/** One bundle: a file `NAME.js` that holds all which it always needs, and one for each other part that import() names. */
async function bundleSplit(
  root: string,
  { entry, always, isShortLived }: Part,
  name: string,
  elsewhere: ReadonlyMap<string, string>,
  arch: Arch,
): Promise<{ texts: Record<string, string>; inputs: string[] }> {
  const main = `${name}.js`;
  const isWhole = main === MAIN;
  const reached = new Set<string>();
  for (;;) {
    // Only ES modules are split; what comes out is then made CommonJS, file by file.
    const { files, inputs, outputs } = await run(root, entry, arch, {
      format: 'esm',
      splitting: true,
      outdir: 'out',
      entryNames: name,
      chunkNames: `${isWhole ? '' : `${name}-`}[name]-[hash]`,
      plugins: [importsLeft(elsewhere, isWhole ? undefined : reached)],
      ...(isShortLived === true ? ASSIGNED_FIELDS : {}),
    });
    // esbuild makes a file of all that an import() names, even in a function that it leaves out: a part of a program begins
    // with none of them, and gets those that are left in it, until there are no more.
    const found = [...files.values()].flatMap((text) => importsOf(text, LEFT));
    if (found.length > 0) {
      for (const path of found) reached.add(path);
      continue;
    }
    const split = { files, outputs };
    const roots = [...always.map((source) => outputOf(split, source)), main];
    const members = staticClosure(split, roots);
    const joined = await joinFiles(split, members, COMMON_JS);
    const texts: Record<string, string> = {
      [main]: isShortLived === true ? putKnownValues(joined) : joined,
    };
    for (const [file, text] of files) {
      if (!members.includes(file)) texts[file] = await asCommonJs(text);
    }
    return { texts, inputs };
  }
}

/**
 * Fields of classes as assignments in the constructor. As the language has them, V8 makes a function for them that each
 * `new` calls, and defines each by a call of its runtime the first time: half of the calls of a constructor in a program
 * whose code runs a few times.
 */
const ASSIGNED_FIELDS = {
  tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
} as const;

/** In front of the path that an import() names when it was left as it is. */
const LEFT = 'left:';

function importsOf(text: string, prefix: string): string[] {
  return [...text.matchAll(/\bimport\("([^"]+)"\)/g)].flatMap(([, path = '']) => {
    return path.startsWith(prefix) ? [path.slice(prefix.length)] : [];
  });
}

/**
 * Leaves import() of the sources in `names` to the loader, which knows them as `./NAME.js`; and with `reached`, that of
 * all sources which are not in it.
 */
function importsLeft(
  names: ReadonlyMap<string, string>,
  reached: ReadonlySet<string> | undefined,
): Plugin {
  return {
    name: 'imports left',
    setup(build) {
      build.onResolve({ filter: /^\.{1,2}\// }, ({ path, kind, resolveDir }) => {
        if (kind !== 'dynamic-import') return undefined;
        const file = join(resolveDir, path);
        const name = names.get(file);
        if (name !== undefined) return { path: `./${name}.js`, external: true };
        if (reached === undefined || reached.has(file)) return undefined;
        return { path: LEFT + file, external: true };
      });
    },
  };
}

/** Bundles the entry point of a worker thread, which gets its code as one text. */
export async function bundleWorker(
  root: string,
  entry: string,
  arch: Arch,
): Promise<Omit<Bundle, 'chunks'>> {
  const { files, inputs } = await run(root, entry, arch, { format: 'cjs', outdir: 'out' });
  return { code: [...files.values()].join(''), inputs };
}

async function run(
  root: string,
  entry: string,
  arch: Arch,
  options: BuildOptions,
): Promise<{ files: Map<string, string>; inputs: string[]; outputs: Metafile['outputs'] }> {
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
      'process.arch': JSON.stringify(arch),
    },
    ...options,
    plugins: [assembledListings, ...(options.plugins ?? [])],
  }).catch((error: unknown) => {
    throw new Error(`bundle ${entry}: ${error instanceof Error ? error.message : String(error)}`);
  });
  if (result.warnings.length > 0) {
    const lines = result.warnings.map((w) => `${w.location?.file}:${w.location?.line}: ${w.text}`);
    throw new Error(`bundle ${entry}: ${lines.join('; ')}`);
  }
  const files = (result.outputFiles ?? []).map((file) => {
    return [outputName(file.path), file.text] as const;
  });
  // Chunks are stored and read with one byte for a character; esbuild escapes the others in strings.
  const wide = files.find(([, text]) => /[\u0100-\uffff]/.test(text));
  if (wide !== undefined)
    throw new Error(`bundle ${entry}: ${wide[0]} has characters beyond Latin-1`);
  const { inputs = {}, outputs = {} } = result.metafile ?? {};
  return { files: new Map(files), inputs: Object.keys(inputs), outputs };
}

/** How what esbuild has split becomes CommonJS. */
const COMMON_JS = {
  platform: 'node',
  target: 'node26',
  minifyWhitespace: true,
  charset: 'ascii',
} as const;

async function asCommonJs(code: string): Promise<string> {
  // import() becomes require(), which the loader of chunks serves.
  const supported = { 'dynamic-import': false };
  const result = await transform(code, { ...COMMON_JS, format: 'cjs', supported });
  return result.code;
}
