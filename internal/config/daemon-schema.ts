import { PLUGINS_V3, PROXY_PLUGINS, STREAM_PROCESSORS } from './plugin-schema.ts';
import {
  boolean,
  choice,
  duration,
  foreign,
  idle,
  integer,
  open,
  type Schema,
  string,
  strings,
  table,
  type ValueOf,
} from './schema.ts';

/** Levels of the log. `warning` and `panic` are containerd's other names of warn and fatal. */
export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;

export type LogLevel = (typeof LOG_LEVELS)[number];

/** The version that is printed and that every file is brought to. */
export const LATEST_VERSION = 3;

const OCICRYPT = 'io.containerd.ocicrypt.decoder.v1.tar';
const OCICRYPT_LAYER = 'application/vnd.oci.image.layer.v1.tar';

/** What containerd has by default: a program that decrypts layers, if it is installed. */
const DECRYPTION = Object.fromEntries(
  ['', '+gzip'].map((compression) => [
    `${OCICRYPT}${compression.replace('+', '.')}`,
    {
      accepts: [`${OCICRYPT_LAYER}${compression}+encrypted`],
      returns: `${OCICRYPT_LAYER}${compression}`,
      path: 'ctd-decoder',
      args: ['--decryption-keys-path', '/etc/containerd/ocicrypt/keys'],
      env: ['OCICRYPT_KEYPROVIDER_CONFIG=/etc/containerd/ocicrypt/ocicrypt_keyprovider.conf'],
    },
  ]),
);

/** The file but for its plugins (containerd docs/man/containerd-config.toml.5). */
export const DAEMON_FIELDS = {
  version: integer(LATEST_VERSION),
  root: string('/var/lib/containerd'),
  state: string('/run/containerd'),
  temp: string(),
  disabled_plugins: strings(),
  required_plugins: strings(),
  oom_score: integer(),
  imports: strings(),
  grpc: table({
    address: string('/run/containerd/containerd.sock'),
    tcp_address: string(),
    tcp_tls_ca: string(),
    tcp_tls_cert: string(),
    tcp_tls_key: string(),
    tcp_tls_common_name: foreign(
      'the certificate of a client counts, not the name in it',
      string(),
    ),
    uid: integer(),
    gid: integer(),
    max_recv_message_size: integer(16 * 1024 * 1024),
    max_send_message_size: integer(16 * 1024 * 1024),
  }),
  ttrpc: table({ address: string(), uid: integer(), gid: integer() }),
  debug: table({
    address: string(),
    uid: integer(),
    gid: integer(),
    level: choice([...LOG_LEVELS, 'warning', 'panic']),
    format: choice(['text', 'json']),
  }),
  metrics: table({ address: string(), grpc_histogram: boolean() }),
  plugins: open(table(PLUGINS_V3), 'unknown'),
  cgroup: foreign(
    'the daemon stays in the cgroup that it is started in',
    table({ path: string() }),
  ),
  proxy_plugins: PROXY_PLUGINS,
  timeouts: open(
    table({
      'io.containerd.timeout.bolt.open': idle(
        'the database is SQLite, which a lock keeps others from',
        duration('0s'),
      ),
      'io.containerd.timeout.cri.defercleanup': idle(
        'what failed is cleaned up before it is answered',
        duration('1m0s'),
      ),
      'io.containerd.timeout.metrics.shimstats': duration('2s'),
      'io.containerd.timeout.shim.cleanup': duration('5s'),
      'io.containerd.timeout.shim.load': duration('5s'),
      'io.containerd.timeout.shim.shutdown': duration('3s'),
      'io.containerd.timeout.task.state': duration('2s'),
    }),
    'unknown',
  ),
  stream_processors: { ...STREAM_PROCESSORS, default: DECRYPTION },
};

/** A configuration file of version 3. */
export const CONFIG_V3 = table(DAEMON_FIELDS);

/** A configuration with every default filled in, by the names of the file's keys. */
export type ConfigFile = ValueOf<typeof CONFIG_V3>;

/** Keys that only older files have. */
export const OLD_FIELDS = {
  plugin_dir: idle('plugins of Go cannot be loaded', string()),
} satisfies Record<string, Schema>;
