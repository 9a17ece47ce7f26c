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
  readonly debug: { readonly level: string };
  /** Whether a namespace gets a blob that another one has without its bytes being sent
   * (`content_sharing_policy = "shared"`). */
  readonly isContentShared: boolean;
  /** `plugins."io.containerd.…"` tables by plugin URI, as they were written. */
  readonly plugins: ReadonlyMap<string, Readonly<Record<string, unknown>>>;
}

/** The configuration of a daemon without a configuration file (containerd's defaults). */
export function defaultConfig(): Config {
  const address = '/run/containerd/containerd.sock';
  return {
    root: '/var/lib/containerd',
    state: '/run/containerd',
    grpc: {
      address,
      uid: 0,
      gid: 0,
      maxReceiveMessageBytes: 16 * 1024 * 1024,
      maxSendMessageBytes: 16 * 1024 * 1024,
    },
    ttrpc: { address: `${address}.ttrpc`, uid: 0, gid: 0 },
    debug: { level: 'info' },
    isContentShared: true,
    plugins: new Map(),
  };
}
