/**
 * The tables below `[plugins]` in version 3. Tables that are idle are those of containerd's own
 * generated files: they are read, and a value other than containerd's default is told.
 */
import { CRI_IMAGES, CRI_RUNTIME, CRI_SERVER } from './cri-schema.ts';
import {
  anyTable,
  boolean,
  choice,
  duration,
  foreign,
  idle,
  integer,
  map,
  number,
  own,
  string,
  strings,
  table,
  tables,
} from './schema.ts';

const NO_PLUGIN = 'this daemon has no such plugin';

const SNAPSHOTTER = 'io.containerd.snapshotter.v1';

/** The same in version 2 and 3. */
export const COMMON_PLUGINS = {
  'io.containerd.differ.v1.erofs': foreign(NO_PLUGIN, table({ mkfs_options: strings() })),
  'io.containerd.gc.v1.scheduler': table({
    pause_threshold: number(0.02),
    deletion_threshold: integer(),
    mutation_threshold: integer(100),
    schedule_delay: duration(),
    startup_delay: duration('100ms'),
  }),
  'io.containerd.image-verifier.v1.bindir': foreign(
    NO_PLUGIN,
    table({
      bin_dir: string('/opt/containerd/image-verifier/bin'),
      max_verifiers: integer(10),
      per_verifier_timeout: duration('10s'),
    }),
  ),
  'io.containerd.internal.v1.opt': table({ path: string('/opt/containerd') }),
  'io.containerd.internal.v1.tracing': foreign(
    NO_PLUGIN,
    table({
      endpoint: string(),
      protocol: string(),
      insecure: boolean(),
      service_name: string(),
      sampling_ratio: number(),
    }),
  ),
  'io.containerd.metadata.v1.bolt': table({
    content_sharing_policy: choice(['shared', 'isolated'], 'shared'),
    no_sync: idle('the database syncs as SQLite does in WAL mode', boolean()),
  }),
  'io.containerd.nri.v1.nri': foreign(
    NO_PLUGIN,
    table({
      disable: boolean(),
      socket_path: string('/var/run/nri/nri.sock'),
      plugin_path: string('/opt/nri/plugins'),
      plugin_config_path: string('/etc/nri/conf.d'),
      plugin_registration_timeout: duration('5s'),
      plugin_request_timeout: duration('2s'),
      disable_connections: boolean(),
      default_validator: anyTable,
    }),
  ),
  'io.containerd.runtime.v2.task': table({
    platforms: idle(
      'containers are of the machine',
      strings(`linux/${process.arch === 'x64' ? 'amd64' : process.arch}`),
    ),
    sched_core: foreign('shims get no core scheduling group', boolean()),
    spare_shim: own(boolean()),
  }),
  'io.containerd.service.v1.diff-service': table({
    default: foreign('there is one differ', strings('walking')),
    sync_fs: boolean(),
  }),
  'io.containerd.service.v1.tasks-service': foreign(
    'there are no classes of block I/O and RDT',
    table({ blockio_config_file: string(), rdt_config_file: string() }),
  ),
  'io.containerd.shim.v1.manager': idle(
    'shims have the environment of the daemon',
    table({ env: strings() }),
  ),
  [`${SNAPSHOTTER}.blockfile` as const]: foreign(
    NO_PLUGIN,
    table({
      root_path: string(),
      scratch_file: string(),
      fs_type: string(),
      mount_options: strings(),
      recreate_scratch: boolean(),
    }),
  ),
  [`${SNAPSHOTTER}.btrfs` as const]: table({ root_path: string() }),
  [`${SNAPSHOTTER}.devmapper` as const]: table({
    root_path: string(),
    pool_name: string(),
    base_image_size: string(),
    async_remove: boolean(),
    discard_blocks: boolean(),
    fs_type: string(),
    fs_options: string(),
  }),
  [`${SNAPSHOTTER}.erofs` as const]: foreign(
    NO_PLUGIN,
    table({
      root_path: string(),
      ovl_mount_options: strings(),
      enable_fsverity: boolean(),
      set_immutable: boolean(),
    }),
  ),
  [`${SNAPSHOTTER}.native` as const]: table({ root_path: string() }),
  [`${SNAPSHOTTER}.overlayfs` as const]: table({
    root_path: string(),
    upperdir_label: idle('snapshots have no label with a path', boolean()),
    sync_remove: idle('what a snapshot held is deleted beside the call', boolean()),
    slow_chown: idle('the kernel maps ids of mounts', boolean()),
    mount_options: strings(),
  }),
  [`${SNAPSHOTTER}.zfs` as const]: table({ root_path: string() }),
  'io.containerd.tracing.processor.v1.otlp': foreign(
    NO_PLUGIN,
    table({ endpoint: string(), protocol: string(), insecure: boolean() }),
  ),
  'io.containerd.transfer.v1.local': table({
    max_concurrent_downloads: integer(3),
    concurrent_layer_fetch_buffer: integer(),
    max_concurrent_uploaded_layers: integer(3),
    check_platform_supported: idle('a client names the platform', boolean()),
    config_path: string(),
    unpack_config: idle(
      'a client names platform and snapshotter',
      tables({ platform: string(), snapshotter: string(), differ: string() }),
    ),
  }),
};

const RESTART = foreign(NO_PLUGIN, table({ interval: duration('10s') }));
const CGROUP_METRICS = table({ no_prometheus: boolean() });

/** Plugins that have another name in version 2. */
export const RENAMED_PLUGINS: Readonly<Record<string, string>> = {
  'io.containerd.internal.v1.restart': 'io.containerd.monitor.container.v1.restart',
  'io.containerd.monitor.v1.cgroups': 'io.containerd.monitor.task.v1.cgroups',
};

/** Plugins of containerd 1.x that are gone. */
const GONE_PLUGINS = {
  'io.containerd.runtime.v1.linux': foreign(
    'it is of containerd 1',
    table({
      no_shim: boolean(),
      runtime: string('runc'),
      runtime_root: string(),
      shim: string('containerd-shim'),
      shim_debug: boolean(),
    }),
  ),
  'io.containerd.snapshotter.v1.aufs': foreign(
    'it is of containerd 1',
    table({ root_path: string() }),
  ),
};

/** The plugins of a file of version 2, but for CRI. */
export const PLUGINS_V2 = {
  ...COMMON_PLUGINS,
  ...GONE_PLUGINS,
  'io.containerd.internal.v1.restart': RESTART,
  'io.containerd.monitor.v1.cgroups': CGROUP_METRICS,
};

const PLUGINS_V3_UNSORTED = {
  ...COMMON_PLUGINS,
  ...GONE_PLUGINS, // "containerd config migrate" writes them too
  'io.containerd.cri.v1.images': CRI_IMAGES,
  'io.containerd.cri.v1.runtime': CRI_RUNTIME,
  'io.containerd.grpc.v1.cri': CRI_SERVER,
  'io.containerd.monitor.container.v1.restart': RESTART,
  'io.containerd.monitor.task.v1.cgroups': CGROUP_METRICS,
};

/** The plugins of a file of version 3, in the order in which they are printed. */
export const PLUGINS_V3 = Object.fromEntries(
  Object.entries(PLUGINS_V3_UNSORTED).sort(([a], [b]) => (a < b ? -1 : 1)),
) as typeof PLUGINS_V3_UNSORTED;

/** `[proxy_plugins]`: plugins in other processes. */
export const PROXY_PLUGINS = map(
  table({
    type: choice(['snapshot', 'content', 'sandbox', 'diff']),
    address: string(),
    platform: string(),
    capabilities: strings(),
    exports: map(string()),
  }),
);

/** `[stream_processors]`: programs that turn layers of one media type into another. */
export const STREAM_PROCESSORS = map(
  table({ accepts: strings(), returns: string(), path: string(), args: strings(), env: strings() }),
);
