// Joins files of a split bundle into one, so that a command that is often called loads one part instead of some twenty.
// Between files each use of an import is a call of a getter, and each file has its own copy of every name; within one file
// esbuild binds names directly and leaves out what nobody uses.
import { type BuildOptions, build, type Metafile, type Plugin } from 'esbuild';

/** A bundle as esbuild has split it: ES modules by name, and what it says about them. */
export interface SplitBundle {
  readonly files: ReadonlyMap<string, string>;
  readonly outputs: Metafile['outputs'];
}

/** The file name of an output of esbuild. */
export function outputName(path: string): string {
  return path.split('/').at(-1) ?? '';
}

/** The files that `roots` import statically, and theirs, in the order in which they run. */
export function staticClosure({ outputs }: SplitBundle, roots: readonly string[]): string[] {
  const byName = new Map(Object.entries(outputs).map(([path, each]) => [outputName(path), each]));
  const closure = new Set<string>();
  const visit = (name: string): void => {
    if (closure.has(name)) return;
    const output = byName.get(name);
    if (output === undefined) return; // a module of Node
    for (const { path, kind } of output.imports) {
      if (kind === 'import-statement') visit(outputName(path));
    }
    closure.add(name);
  };
  for (const root of roots) visit(root);
  return [...closure];
}

/** The file that holds the source file `input` and nothing that others ask for by its name. */
export function outputOf({ outputs }: SplitBundle, input: string): string {
  const found = Object.entries(outputs).find(([, { entryPoint }]) => entryPoint === input);
  if (found === undefined) throw new Error(`join parts: no import() names ${input}`);
  return outputName(found[0]);
}

/**
 * Makes one CommonJS text of `members`, of which the last one is the entry. It calls `require.provide` with what files
 * outside of it import from its members, and `require.part` for what import() names, whoever has it (chunk-loader.ts).
 */
export async function joinFiles(
  bundle: SplitBundle,
  members: readonly string[],
  options: BuildOptions,
): Promise<string> {
  const inside = new Set(members);
  const wanted = namesWanted(bundle, inside);
  const entry = members.at(-1) ?? '';
  const ofOthers = members
    .filter((name) => name !== entry)
    .map((name) => ({ name, exported: wanted.get(name) ?? new Set<string>() }));
  const ofEntry = { name: entry, exported: new Set(exportsOf(bundle.outputs, entry)) };
  // What the entry runs at once may ask for a file that needs the others: they are provided before.
  const files = new Map(bundle.files).set(PROVIDE, provideText(ofOthers));
  inside.add(PROVIDE);
  const result = await build({
    ...options,
    stdin: {
      contents: `import "./${PROVIDE}";${provideText([ofEntry])}`,
      resolveDir: '/',
      sourcefile: 'parts.js',
    },
    bundle: true,
    write: false,
    format: 'cjs',
    plugins: [fromMemory(files, inside)],
  });
  const text = result.outputFiles?.[0]?.text ?? '';
  return text.replaceAll(/\bimport\("(\.\/[^"]+)"\)/g, 'require.part("$1")');
}

/** A file that does not exist: it provides what the others have. */
const PROVIDE = 'provide.js';

/** Imports files and tells the loader what it finds in them; made when it is asked for. */
function provideText(
  files: readonly { readonly name: string; readonly exported: ReadonlySet<string> }[],
): string {
  const imports: string[] = [];
  const provided: string[] = [];
  files.forEach(({ name, exported }, index) => {
    const names = [...exported];
    const locals = names.map((each, position) => `${each} as _${index}_${position}`);
    imports.push(`import {${locals.join(',')}} from "./${name}";`);
    const getters = names.map((each, position) => `get ${each}(){return _${index}_${position}}`);
    provided.push(`"./${name}":()=>({${getters.join(',')}})`);
  });
  if (provided.length > 0) imports.push(`require.provide({${provided.join(',')}});`);
  return imports.join('');
}

/** What files outside of `inside`, or import(), take from each file inside. */
function namesWanted(
  { files, outputs }: SplitBundle,
  inside: ReadonlySet<string>,
): Map<string, Set<string>> {
  const wanted = new Map<string, Set<string>>();
  const want = (file: string, names: readonly string[]): void => {
    const set = wanted.get(file) ?? new Set();
    for (const name of names) set.add(name);
    wanted.set(file, set);
  };
  for (const [path, { imports }] of Object.entries(outputs)) {
    const importer = outputName(path);
    for (const { path: target, kind } of imports) {
      const file = outputName(target);
      if (!inside.has(file)) continue;
      if (kind === 'dynamic-import') want(file, exportsOf(outputs, file));
      else if (!inside.has(importer)) {
        want(file, importedNames(files.get(importer) ?? '', importer, file));
      }
    }
  }
  return wanted;
}

function exportsOf(outputs: Metafile['outputs'], file: string): readonly string[] {
  const found = Object.entries(outputs).find(([path]) => outputName(path) === file);
  return found?.[1].exports ?? [];
}

/** The names in the import statements of a text that esbuild wrote. */
function importedNames(text: string, importer: string, file: string): string[] {
  const names: string[] = [];
  const pattern = /\bimport\s*(?:\{([^}]*)\}\s*from\s*)?"\.\/([^"]+)"/g;
  let isThere = false;
  for (const [, list = '', from] of text.matchAll(pattern)) {
    if (from !== file) continue;
    isThere = true;
    for (const item of list.split(',')) {
      const name = item.trim().split(/\s+as\s+/)[0];
      if (name !== undefined && name !== '') names.push(name);
    }
  }
  if (!isThere) throw new Error(`join parts: ${importer} does not import ${file} as expected`);
  return names;
}

/** Gives esbuild the files; what is not inside stays an import. */
function fromMemory(files: ReadonlyMap<string, string>, inside: ReadonlySet<string>): Plugin {
  return {
    name: 'files of the bundle',
    setup(build) {
      build.onResolve({ filter: /^\.\// }, ({ path, kind }) => {
        const name = path.slice(2);
        if (kind === 'dynamic-import' || !inside.has(name)) return { path, external: true };
        return { path: name, namespace: 'bundle', sideEffects: true };
      });
      build.onLoad({ filter: /.*/, namespace: 'bundle' }, ({ path }) => {
        return { contents: files.get(path) ?? '', loader: 'js' };
      });
    },
  };
}
