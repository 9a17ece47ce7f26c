// Runs inside the built programs, in front of the entry point: gives it a `require` that finds the program's other files
// among the assets of the executable, with the code that V8 has compiled for them at build time.

/** The suffix of the asset that holds the compiled code of a chunk. */
export const CACHE_SUFFIX = '.cache';

/**
 * How a chunk's text is made a function; the build compiles the same text, character for character, or V8 refuses the
 * compiled code.
 */
export const chunkFunction = {
  head: '(function(exports,require,module,__filename,__dirname){',
  tail: '\n})',
} as const;

// Types only: at run time the function must not need anything but its arguments.
type Exports = Record<string, unknown>;
/** Modules by id, made when they are asked for. */
type Provided = Record<string, () => Exports>;
interface Require {
  (id: string): unknown;
  /** What import() of a part is in the built program. */
  part?: (id: string) => Promise<unknown>;
  /** Takes the parts that a joined part has in it (joined-parts.ts). */
  provide?: (parts: Provided) => void;
}
interface SeaModule {
  getRawAsset(name: string): ArrayBuffer;
}
interface VmModule {
  Script: new (
    code: string,
    options: { filename: string; cachedData?: Buffer },
  ) => { runInThisContext(): (...args: unknown[]) => void };
}

function withChunks(outer: Require, filename: string, dirname: string): Require {
  const loaded = new Map<string, Exports>();
  const provided: Provided = {};
  const asset = (name: string): Buffer | undefined => {
    try {
      return Buffer.from((outer('node:sea') as SeaModule).getRawAsset(name));
    } catch {
      // No such asset: a cross-build without an emulator has no compiled code.
      return undefined;
    }
  };
  const load = (id: string): Exports => {
    const name = id.slice(2);
    const code = asset(name);
    if (code === undefined) throw new Error(`internal error: the program lacks its part ${name}`);
    const cachedData = asset(`${name}.cache`);
    const { Script } = outer('node:vm') as VmModule;
    const options = cachedData === undefined ? { filename: name } : { filename: name, cachedData };
    const module = { exports: {} };
    loaded.set(id, module.exports);
    new Script(code.toString('latin1'), options).runInThisContext()(
      module.exports,
      require,
      module,
      filename,
      dirname,
    );
    loaded.set(id, module.exports);
    return module.exports;
  };
  const require: Require = (id) => {
    if (!id.startsWith('./')) return outer(id);
    const known = loaded.get(id);
    if (known !== undefined) return known;
    if (provided[id] === undefined) {
      const exports = load(id);
      if (provided[id] === undefined) return exports;
    }
    const exports = provided[id]();
    loaded.set(id, exports);
    return exports;
  };
  require.part = async (id) => require(id);
  require.provide = (parts) => {
    Object.assign(provided, parts);
  };
  return require;
}

/** The loader as text, to stand before an entry point. */
export const chunkLoader = `require=(${withChunks})(require,__filename,__dirname);`;
