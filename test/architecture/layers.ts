// The layers: which folder may import which. A row imports what is named in it and nothing else, so that a container's
// setup can be read without the daemon, and the daemon without the machine code. The table is the rule; a folder that it
// does not know is an error, so that a new one gets its row on purpose.
import { dirname, join, normalize } from 'node:path/posix';

/** What the files of one folder may import. */
interface Layer {
  /** Other folders: all of the face that they offer (see `faces`). */
  readonly imports: readonly string[];
  /** Folders of which only types may be imported, which leaves nothing at run time. */
  readonly types?: readonly string[];
  /** Packages of npm. Modules of Node itself are free for all. */
  readonly packages?: readonly string[];
  /** May look behind the faces: it puts implementations together. */
  readonly wires?: true;
}

const errors = 'internal/errors';
const log = 'internal/log';
const api = 'internal/api';
const linux = 'internal/linux';
const oci = 'internal/oci';
const flags = 'internal/flags';
const notation = 'internal/notation';
const rootfs = 'internal/rootfs';
const client = 'internal/client';
const config = 'internal/config';
const metrics = 'internal/metrics';
const registry = 'internal/registry';
const cgroups = 'internal/cgroups';
const runtime = 'internal/runtime';
const shared = [oci, cgroups, linux, api, errors, log, 'ttrpc'];
const cores = ['content', 'images', 'snapshots', 'metadata', 'tasks', 'events', 'gc'].map(
  (name) => `internal/${name}`,
);
const kubernetes = ['internal/cri', 'internal/nri', 'internal/streaming'];
const services = 'internal/services';
const daemonPackages = ['@grpc/grpc-js', 'tar-stream', 'smol-toml'];

const core: Layer = { imports: [...cores, registry, ...shared], packages: daemonPackages };
const view: Layer = { imports: [services, config, metrics, ...shared], packages: daemonPackages };

/** The rows, from the top of the building to its ground. */
export const layers: Readonly<Record<string, Layer>> = {
  'cmd/tscontainerd': { imports: ['internal/server', client, config, ...shared] },
  'cmd/containerd-shim-tsrunc-v2': { imports: ['internal/shim', ...shared] },
  'cmd/tsrunc': { imports: [runtime, flags, ...shared] },
  // The daemon is reached by its socket alone, like any other containerd.
  [client]: {
    imports: [registry, api, oci, linux, errors, flags, rootfs],
    packages: ['@grpc/grpc-js'],
  },
  'internal/server': {
    imports: [...kubernetes, services, ...cores, registry, config, metrics, ...shared],
    packages: daemonPackages,
    wires: true,
  },
  'internal/cri': { ...view, imports: [...view.imports, 'internal/streaming', rootfs] },
  'internal/nri': view,
  // `ws` is the library for WebSockets; SPDY has none that is kept.
  'internal/streaming': { ...view, packages: ['ws'] },
  [services]: {
    imports: [...cores, registry, 'internal/streaming', ...shared],
    packages: daemonPackages,
  },
  ...Object.fromEntries(cores.map((name) => [name, core])),
  'internal/shim': { imports: [runtime, ...shared], packages: ['smol-toml'] },
  // CRIU speaks protobuf.
  [runtime]: { imports: [oci, cgroups, linux, errors, api] },
  // Limits are stated in the specification's words: cgroups takes its types.
  [cgroups]: { imports: [linux, errors], types: [oci], packages: ['dbus-native'] },
  // What the daemon's images and the client have in common: how a registry is spoken to.
  [registry]: { imports: [oci, errors, notation], packages: ['smol-toml'] },
  [config]: { imports: [oci, errors, notation], packages: ['smol-toml'] },
  [rootfs]: { imports: [linux, errors], types: [api, oci] },
  [oci]: { imports: [linux, errors] },
  [linux]: { imports: [errors], packages: ['koffi'] },
  [api]: { imports: [], packages: ['protobufjs'] },
  [errors]: { imports: [] },
  [flags]: { imports: [notation] },
  // Texts that several of the above read in one form.
  [notation]: { imports: [] },
  [metrics]: { imports: [] },
  [log]: { imports: [], packages: ['pino'] },
  ttrpc: { imports: [], packages: ['protobufjs'] },
  build: { imports: [], types: [api], packages: ['acorn', 'esbuild', 'protobufjs'] },
};

/**
 * The files of a folder that others may import. A folder with an index.ts has that one; of those below, the ones named.
 * The rest of a folder is private to it.
 */
export const faces: Readonly<Record<string, RegExp>> = {
  // One file per subject, so that a program holds only what it uses. What speaks to the kernel directly stays inside.
  [linux]: /^(?!syscall|koffi)(?:constants\/)?[a-z0-9-]+\.ts$/,
  // Those by themselves are for commands that need nothing else of it.
  [cgroups]: /^(?:index|idle-cgroup|v2-controllers)\.ts$/,
  [errors]: /^(?:index|errno|error-text)\.ts$/,
  [api]: /^(?:generated\/[^/]+|any|init|service|time|codec)\.ts$/,
};

/** One import of a source file. */
export interface Import {
  readonly specifier: string;
  readonly typeOnly: boolean;
  readonly line: number;
}

/** Finds the imports of a file: static ones as Biome formats them, and import() anywhere. */
export function importsOf(source: string): Import[] {
  const found: Import[] = [];
  const statement =
    /^(?:import|export)\s+(type\s+)?(?:[^'"`;]*?\sfrom\s+)?'([^']+)'|\b(?:import|require)\(\s*'([^']+)'\s*\)/gm;
  for (const match of source.matchAll(statement)) {
    const specifier = match[2] ?? match[3] ?? '';
    const line = source.slice(0, match.index).split('\n').length;
    found.push({ specifier, typeOnly: match[1] !== undefined, line });
  }
  return found;
}

/** The folder of the table that a file belongs to; undefined when the table does not know it. */
export function folderOf(path: string): string | undefined {
  const [top = '', second = ''] = path.split('/');
  const folder = top === 'cmd' || top === 'internal' ? `${top}/${second}` : top;
  return folder in layers ? folder : undefined;
}

/**
 * Checks the imports of one file and returns what is wrong, a sentence each. `exists` tells whether a path (relative to
 * the repository) is a file, to find a folder's index.ts.
 */
export function layerViolations(
  path: string,
  source: string,
  exists: (path: string) => boolean,
): string[] {
  if (path.startsWith('test/')) return []; // may import anything
  const folder = folderOf(path);
  const layer = folder === undefined ? undefined : layers[folder];
  if (folder === undefined || layer === undefined) {
    return [`${path}: the table of layers does not know this folder`];
  }
  // A test needs at run time what the code needs for its types, and may use any package.
  const isTest = /\.(?:test|fixture)\.ts$/.test(path);
  const problems: string[] = [];
  for (const { specifier, typeOnly, line } of importsOf(source)) {
    const say = (what: string) => problems.push(`${path}:${line}: ${what}`);
    if (!specifier.startsWith('.')) {
      const name = packageName(specifier);
      if (name !== undefined && !typeOnly && !isTest && !layer.packages?.includes(name)) {
        say(`${folder} must not import the package ${name}`);
      }
      continue;
    }
    const target = normalize(join(dirname(path), specifier));
    if (target === 'package.json') continue; // its version
    const other = folderOf(target);
    if (other === folder) continue;
    if (other === undefined) say(`${target} is in no folder of the table of layers`);
    else if (
      !layer.imports.includes(other) &&
      !((typeOnly || isTest) && layer.types?.includes(other))
    ) {
      say(`${folder} must not import ${other} (${target})`);
    } else if (layer.wires === undefined && !isFace(other, target, exists)) {
      say(`${target} is private to ${other}`);
    }
  }
  return problems;
}

function isFace(folder: string, target: string, exists: (path: string) => boolean): boolean {
  const face = faces[folder];
  const inside = target.slice(folder.length + 1);
  if (face !== undefined) return face.test(inside);
  return exists(`${folder}/index.ts`) ? inside === 'index.ts' : true;
}

function packageName(specifier: string): string | undefined {
  if (specifier.startsWith('node:')) return undefined;
  const [first = '', second = ''] = specifier.split('/');
  return first.startsWith('@') ? `${first}/${second}` : first;
}
