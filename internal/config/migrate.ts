/**
 * Files of version 2, in which CRI was one plugin (containerd 1.x), and how they become version 3.
 */
import {
  CNI_FIELDS,
  CRI_SERVER_FIELDS,
  IMAGES_FIELDS,
  NODE_FIELDS,
  RUNTIME_FIELDS,
} from './cri-schema.ts';
import { DAEMON_FIELDS, LATEST_VERSION, OLD_FIELDS } from './daemon-schema.ts';
import { PLUGINS_V2, RENAMED_PLUGINS } from './plugin-schema.ts';
import { boolean, idle, isTable, map, open, string, type TomlTable, table } from './schema.ts';

const CRI = 'io.containerd.grpc.v1.cri';
const CRI_IMAGES = 'io.containerd.cri.v1.images';
const CRI_RUNTIME = 'io.containerd.cri.v1.runtime';

/** Images' options that version 2 has in `[…cri".containerd]`. */
const SNAPSHOT_KEYS = [
  'snapshotter',
  'disable_snapshot_annotations',
  'discard_unpacked_layers',
] as const;

const OF_V1 = 'it is of containerd 1: use a table of runtimes with its options';

const RUNTIME_V2 = table({
  ...RUNTIME_FIELDS,
  sandbox_mode: string(),
  runtime_engine: idle(OF_V1, string()),
  runtime_root: idle(OF_V1, string()),
});

const { snapshotter, disable_snapshot_annotations, discard_unpacked_layers, ...IMAGES_V2 } =
  IMAGES_FIELDS;

/** `plugins."io.containerd.grpc.v1.cri"` of version 2. */
const CRI_V2 = table({
  ...NODE_FIELDS,
  ...IMAGES_V2,
  ...CRI_SERVER_FIELDS,
  sandbox_image: string(),
  disable_cgroup: idle('containers are always in cgroups', boolean()),
  systemd_cgroup: idle(OF_V1, boolean()),
  cni: table(CNI_FIELDS),
  containerd: table({
    snapshotter,
    disable_snapshot_annotations,
    discard_unpacked_layers,
    default_runtime_name: string(),
    no_pivot: idle(OF_V1, boolean()),
    ignore_blockio_not_enabled_errors: boolean(),
    ignore_rdt_not_enabled_errors: boolean(),
    default_runtime: idle(OF_V1, RUNTIME_V2),
    untrusted_workload_runtime: idle(OF_V1, RUNTIME_V2),
    runtimes: map(RUNTIME_V2),
  }),
});

/** A configuration file of version 2. */
export const CONFIG_V2 = table({
  ...DAEMON_FIELDS,
  ...OLD_FIELDS,
  plugins: open(table({ ...PLUGINS_V2, [CRI]: CRI_V2 }), 'unknown'),
});

/** A checked table of version 2 as one of version 3. */
export function migrate(file: TomlTable): TomlTable {
  const { plugins, plugin_dir: _gone, ...rest } = file;
  if (!isTable(plugins)) return { ...rest, version: LATEST_VERSION };
  const migrated = Object.entries(plugins).flatMap(([id, options]) =>
    id === CRI && isTable(options)
      ? migrateCri(options)
      : [[RENAMED_PLUGINS[id] ?? id, options] as const],
  );
  return { ...rest, version: LATEST_VERSION, plugins: Object.fromEntries(migrated) };
}

function migrateCri(cri: TomlTable): [string, TomlTable][] {
  const { sandbox_image, cni, ...options } = cri;
  const containerd = isTable(cri['containerd']) ? cri['containerd'] : {};
  const runtimes = isTable(containerd['runtimes']) ? containerd['runtimes'] : {};
  const images = {
    ...pick(options, Object.keys(IMAGES_V2)),
    ...pick(containerd, SNAPSHOT_KEYS),
    ...(sandbox_image === undefined ? {} : { pinned_images: { sandbox: sandbox_image } }),
  };
  const runtime = {
    ...pick(options, Object.keys(NODE_FIELDS)),
    ...(isTable(cni) ? { cni: migrateCni(cni) } : {}),
    containerd: {
      ...omit(containerd, [...SNAPSHOT_KEYS, 'no_pivot', ...OLD_RUNTIMES]),
      ...(Object.keys(runtimes).length === 0 ? {} : { runtimes: migrateRuntimes(runtimes) }),
    },
  };
  const server = pick(options, Object.keys(CRI_SERVER_FIELDS));
  return [
    [CRI_IMAGES, images],
    [CRI_RUNTIME, runtime],
    [CRI, server],
  ];
}

const OLD_RUNTIMES = ['default_runtime', 'untrusted_workload_runtime'];

/** One directory became a list of them. */
function migrateCni({ bin_dir, ...cni }: TomlTable): TomlTable {
  return typeof bin_dir === 'string' && bin_dir !== '' ? { ...cni, bin_dirs: [bin_dir] } : cni;
}

function migrateRuntimes(runtimes: TomlTable): TomlTable {
  return mapValues(runtimes, (runtime) => {
    const { sandbox_mode, ...rest } = omit(runtime, ['runtime_engine', 'runtime_root']);
    return sandbox_mode === undefined ? rest : { sandboxer: sandbox_mode, ...rest };
  });
}

function mapValues(tables: TomlTable, change: (table: TomlTable) => TomlTable): TomlTable {
  return Object.fromEntries(
    Object.entries(tables).map(([key, value]) => [key, isTable(value) ? change(value) : value]),
  );
}

function pick(from: TomlTable, keys: readonly string[]): TomlTable {
  return Object.fromEntries(Object.entries(from).filter(([key]) => keys.includes(key)));
}

function omit(from: TomlTable, keys: readonly string[]): TomlTable {
  return Object.fromEntries(Object.entries(from).filter(([key]) => !keys.includes(key)));
}
