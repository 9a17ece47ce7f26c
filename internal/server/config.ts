import { TsError } from '../errors/index.ts';

/** Configuration of the daemon, with every default filled in. */
export interface Config {
  /** Persistent data: content, snapshots, the database. */
  readonly root: string;
  /** Data that lives as long as the machine is up: bundles, sockets. */
  readonly state: string;
  readonly grpc: {
    readonly address: string;
    readonly uid: number;
    readonly gid: number;
    readonly maxReceiveMessageBytes: number;
    readonly maxSendMessageBytes: number;
  };
  readonly ttrpc: {
    /** `<grpc address>.ttrpc` unless configured. */
    readonly address: string;
    readonly uid: number;
    readonly gid: number;
  };
  readonly debug: { readonly level: LogLevel };
  /** Plugin URIs without which the daemon does not start, and those that it does not open. */
  readonly requiredPlugins: readonly string[];
  readonly disabledPlugins: readonly string[];
  /** `[timeouts]` in milliseconds by name. */
  readonly timeoutsMs: ReadonlyMap<string, number>;
  /** Whether a namespace gets a blob that another one has without its bytes being sent
   * (`content_sharing_policy = "shared"`). */
  readonly isContentShared: boolean;
  /** `plugins."io.containerd.…"` tables by plugin URI, as they were written. */
  readonly plugins: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
}

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/** A configuration file's keys with their types, which `checkConfig` made sure of. */
export interface ConfigLayer {
  readonly version?: number;
  readonly root?: string;
  readonly state?: string;
  readonly required_plugins?: readonly string[];
  readonly disabled_plugins?: readonly string[];
  readonly grpc?: {
    readonly address?: string;
    readonly uid?: number;
    readonly gid?: number;
    readonly max_recv_message_size?: number;
    readonly max_send_message_size?: number;
  };
  readonly ttrpc?: { readonly address?: string; readonly uid?: number; readonly gid?: number };
  readonly debug?: { readonly level?: string };
  readonly timeouts?: Readonly<Record<string, unknown>>;
  readonly plugins?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

const METADATA_PLUGIN = 'io.containerd.metadata.v1.bolt';

/** containerd's defaults, as a configuration file has them. */
export const DEFAULT_LAYER = {
  version: 3,
  root: '/var/lib/containerd',
  state: '/run/containerd',
  required_plugins: [],
  disabled_plugins: [],
  grpc: {
    address: '/run/containerd/containerd.sock',
    uid: 0,
    gid: 0,
    max_recv_message_size: 16 * 1024 * 1024,
    max_send_message_size: 16 * 1024 * 1024,
  },
  ttrpc: { address: '', uid: 0, gid: 0 },
  debug: { level: 'info' },
  timeouts: {},
  plugins: { [METADATA_PLUGIN]: { content_sharing_policy: 'shared' } },
} as const satisfies ConfigLayer;

/** The configuration that `file` gives with `overrides` on top and the defaults below. */
export function configOf(file: ConfigLayer, overrides: ConfigLayer = {}): Config {
  const grpc = { ...DEFAULT_LAYER.grpc, ...file.grpc, ...overrides.grpc };
  const ttrpc = { ...DEFAULT_LAYER.ttrpc, ...file.ttrpc, ...overrides.ttrpc };
  const plugins = new Map(Object.entries({ ...DEFAULT_LAYER.plugins, ...file.plugins }));
  return {
    root: overrides.root ?? file.root ?? DEFAULT_LAYER.root,
    state: overrides.state ?? file.state ?? DEFAULT_LAYER.state,
    grpc: {
      address: grpc.address,
      uid: grpc.uid,
      gid: grpc.gid,
      maxReceiveMessageBytes: grpc.max_recv_message_size,
      maxSendMessageBytes: grpc.max_send_message_size,
    },
    ttrpc: {
      address: ttrpc.address === '' ? `${grpc.address}.ttrpc` : ttrpc.address,
      uid: ttrpc.uid,
      gid: ttrpc.gid,
    },
    debug: {
      level: logLevel(overrides.debug?.level ?? file.debug?.level ?? DEFAULT_LAYER.debug.level),
    },
    requiredPlugins: file.required_plugins ?? [],
    disabledPlugins: file.disabled_plugins ?? [],
    timeoutsMs: new Map(
      Object.entries(file.timeouts ?? {}).map(([name, text]) => [name, durationMs(name, text)]),
    ),
    isContentShared: isShared(plugins.get(METADATA_PLUGIN)?.['content_sharing_policy']),
    plugins,
  };
}

/** A configuration as the keys of a file that gives it. */
export function layerOf(config: Config): ConfigLayer {
  const { grpc, ttrpc } = config;
  return {
    version: DEFAULT_LAYER.version,
    root: config.root,
    state: config.state,
    required_plugins: config.requiredPlugins,
    disabled_plugins: config.disabledPlugins,
    grpc: {
      address: grpc.address,
      uid: grpc.uid,
      gid: grpc.gid,
      max_recv_message_size: grpc.maxReceiveMessageBytes,
      max_send_message_size: grpc.maxSendMessageBytes,
    },
    ttrpc: { ...ttrpc },
    debug: { level: config.debug.level },
    timeouts: Object.fromEntries([...config.timeoutsMs].map(([name, ms]) => [name, `${ms}ms`])),
    plugins: Object.fromEntries(config.plugins),
  };
}

/** containerd says `warning` and `panic` too. */
function logLevel(text: string): LogLevel {
  const level = text === 'warning' ? 'warn' : text === 'panic' ? 'fatal' : text;
  const known = LOG_LEVELS.find((candidate) => candidate === level);
  if (known !== undefined) return known;
  throw new TsError('InvalidArgument', `log level "${text}" is none of ${LOG_LEVELS.join(', ')}`, {
    code: 'TS_CONFIG_VALUE',
  });
}

function isShared(policy: unknown): boolean {
  if (policy === undefined || policy === '' || policy === 'shared') return true;
  if (policy === 'isolated') return false;
  throw new TsError(
    'InvalidArgument',
    `content_sharing_policy "${policy}" is neither "shared" nor "isolated"`,
    { code: 'TS_CONFIG_VALUE' },
  );
}

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** A duration in Go's notation: `5s`, `1m30s`, `0`. */
function durationMs(name: string, text: unknown): number {
  if (text === '0') return 0;
  if (typeof text === 'string' && /^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+$/.test(text)) {
    return [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)].reduce(
      (sum, [, amount, unit]) => sum + Number(amount) * (UNIT_MS[unit ?? ''] ?? 0),
      0,
    );
  }
  throw new TsError(
    'InvalidArgument',
    `timeouts."${name}" must be a duration such as "5s", not ${JSON.stringify(text)}`,
    { code: 'TS_CONFIG_VALUE' },
  );
}
