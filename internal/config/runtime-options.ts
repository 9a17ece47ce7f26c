import { checkConfig, type TomlFile } from './check.ts';
import { MORE_RUNC_OPTIONS, RUNC_OPTIONS } from './cri-schema.ts';
import { isTable, open, type Schema, type TomlTable, table } from './schema.ts';

/** Runtimes whose options are known; those of others are theirs to understand. */
const KNOWN_RUNTIMES: ReadonlySet<unknown> = new Set([
  undefined, // not changed from the default
  'io.containerd.runc.v2',
  'io.containerd.tsrunc.v2',
]);

const OPTIONS = table({ ...RUNC_OPTIONS, ...MORE_RUNC_OPTIONS });

/**
 * Checks the options of runtimes whose options are known: a misspelt SystemdCgroup, which containerd
 * passes over in silence, ends in pods that do not start.
 */
export function checkOptions(file: TomlFile): string[] {
  const plugins = isTable(file.table['plugins']) ? file.table['plugins'] : {};
  return ['io.containerd.cri.v1.runtime', 'io.containerd.grpc.v1.cri'].flatMap((plugin) => {
    const runtimes = tableIn(tableIn(tableIn(plugins, plugin), 'containerd'), 'runtimes');
    return Object.entries(runtimes).flatMap(([name, runtime]) => {
      if (!isTable(runtime) || !KNOWN_RUNTIMES.has(runtime['runtime_type'])) return [];
      if (runtime['runtime_type'] === undefined && name !== 'runc' && name !== 'tsrunc') return [];
      return checkConfig(file, at(['plugins', plugin, 'containerd', 'runtimes', name, 'options']));
    });
  });
}

/** A schema that checks what is at `path` and nothing else. */
function at([key, ...path]: readonly string[]): Schema {
  if (key === undefined) return OPTIONS;
  return open(table({ [key]: at(path) }), 'silently');
}

function tableIn(parent: TomlTable, key: string): TomlTable {
  const value = parent[key];
  return isTable(value) ? value : {};
}
