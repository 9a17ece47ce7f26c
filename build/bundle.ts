// Bundles a program and all it imports into one CommonJS file, the only module format that an SEA runs with a code cache.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';
import { revision } from './revision.ts';

/** What a bundle consists of; `inputs` are the source files, relative to `root`, for a build that asks what changed. */
export interface Bundle {
  readonly code: string;
  readonly inputs: readonly string[];
}

/**
 * Bundles `entry` (relative to `root`). Throws an Error when esbuild finds an error or has a warning: a warning means
 * code that works from sources and not in a bundle, for example `import.meta` without a substitute.
 */
export async function bundle(root: string, entry: string): Promise<Bundle> {
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
    format: 'cjs',
    target: 'node26',
    // Names stay: they are in stack traces and error texts. White space and long forms go: V8 reads less.
    minifyWhitespace: true,
    minifySyntax: true,
    keepNames: false,
    treeShaking: true,
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
  }).catch((error: unknown) => {
    throw new Error(`bundle ${entry}: ${error instanceof Error ? error.message : String(error)}`);
  });
  if (result.warnings.length > 0) {
    const lines = result.warnings.map((w) => `${w.location?.file}:${w.location?.line}: ${w.text}`);
    throw new Error(`bundle ${entry}: ${lines.join('; ')}`);
  }
  const code = result.outputFiles[0]?.text;
  if (code === undefined) throw new Error(`bundle ${entry}: esbuild returned no output`);
  return { code, inputs: Object.keys(result.metafile.inputs) };
}
