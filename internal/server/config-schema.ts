/**
 * What may stand in the configuration file: containerd's keys (docs/man/containerd-config.toml.5).
 */

export type ValueKind = 'string' | 'integer' | 'boolean' | 'strings' | 'table';

/** Keys of one table. A nested object is a table with known keys, `'table'` one with any. */
export interface TableSchema {
  readonly [key: string]: ValueKind | TableSchema;
}

/** Keys that this version acts upon. */
export const KNOWN_KEYS: TableSchema = {
  version: 'integer',
  root: 'string',
  state: 'string',
  imports: 'strings',
  required_plugins: 'strings',
  disabled_plugins: 'strings',
  grpc: {
    address: 'string',
    uid: 'integer',
    gid: 'integer',
    max_recv_message_size: 'integer',
    max_send_message_size: 'integer',
  },
  ttrpc: { address: 'string', uid: 'integer', gid: 'integer' },
  debug: { level: 'string' },
  timeouts: { 'io.containerd.timeout.task.state': 'string' },
  plugins: 'table',
};

/** Keys of containerd that this version reads without effect; each is told, none is an error. */
export const KEYS_WITHOUT_EFFECT: TableSchema = {
  oom_score: 'integer',
  temp: 'string',
  plugin_dir: 'string',
  grpc: {
    tcp_address: 'string',
    tcp_tls_ca: 'string',
    tcp_tls_cert: 'string',
    tcp_tls_key: 'string',
    tcp_tls_common_name: 'string',
  },
  debug: { address: 'string', uid: 'integer', gid: 'integer', format: 'string' },
  metrics: { address: 'string', grpc_histogram: 'boolean' },
  cgroup: { path: 'string' },
  timeouts: {
    'io.containerd.timeout.bolt.open': 'string',
    'io.containerd.timeout.metrics.shimstats': 'string',
    'io.containerd.timeout.shim.cleanup': 'string',
    'io.containerd.timeout.shim.load': 'string',
    'io.containerd.timeout.shim.shutdown': 'string',
  },
  proxy_plugins: 'table',
  stream_processors: 'table',
};

/** Plugins with options, by URI. Modules that read options of a plugin name them here. */
export const PLUGIN_KEYS: Readonly<Record<string, TableSchema>> = {
  'io.containerd.metadata.v1.bolt': { content_sharing_policy: 'string' },
  'io.containerd.transfer.v1.local': {
    config_path: 'string',
    max_concurrent_downloads: 'integer',
    max_concurrent_uploaded_layers: 'integer',
  },
};
