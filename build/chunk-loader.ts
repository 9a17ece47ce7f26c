// Runs inside the built programs, in front of the entry point: gives it a `require` that finds the program's other files
// in an asset of the executable, with the code that V8 has compiled for them at build time.

/** The asset that holds all of them: Node looks at the head of each asset when it starts, which is a page fault for each. */
export const PARTS_ASSET = 'parts';

/** The suffix of the name of a chunk's compiled code. */
export const CACHE_SUFFIX = '.cache';

/** Puts files into one: the length of an index, the index (name: place and length) as JSON, and the files. */
export function packParts(files: ReadonlyMap<string, Buffer>): Buffer {
  // The index has places, which depend on its length: digits are padded.
  const lay = (indexLength: number) => {
    let end = 4 + indexLength;
    return [...files].map(([name, { length }]) => {
      const start = Math.ceil(end / PART_ALIGNMENT) * PART_ALIGNMENT;
      end = start + length;
      return [name, [start, length]] as const;
    });
  };
  const measure = (indexLength: number) => JSON.stringify(Object.fromEntries(lay(indexLength)));
  let length = 0;
  while (measure(length).length > length) length = measure(length).length;
  const places = lay(length);
  const last = places.at(-1)?.[1] ?? [4 + length, 0];
  const pack = Buffer.alloc(last[0] + last[1]);
  pack.writeUInt32LE(length, 0);
  pack.write(measure(length).padEnd(length), 4, 'latin1');
  for (const [name, [start]] of places) files.get(name)?.copy(pack, start);
  return pack;
}

/** V8 copies compiled code that is not aligned to it. */
const PART_ALIGNMENT = 8;

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
  let pack: Buffer | undefined;
  let places: Readonly<Record<string, readonly [number, number]>> = {};
  const find = (name: string): Buffer | undefined => {
    if (pack === undefined) {
      pack = Buffer.from((outer('node:sea') as SeaModule).getRawAsset('parts'));
      const end = 4 + pack.readUInt32LE(0);
      places = JSON.parse(pack.toString('latin1', 4, end));
    }
    const place = places[name];
    return place === undefined ? undefined : pack.subarray(place[0], place[0] + place[1]);
  };
  const load = (id: string): Exports => {
    const name = id.slice(2);
    const code = find(name);
    if (code === undefined) throw new Error(`internal error: the program lacks its part ${name}`);
    // A cross-build without an emulator has no compiled code.
    const cachedData = find(`${name}.cache`);
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
