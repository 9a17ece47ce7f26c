/** How one host of a registry is spoken to. */

/** What a host may be asked for (containerd docs/hosts.md#capabilities-field). */
export type Capability = 'pull' | 'resolve' | 'push';

export const ALL_CAPABILITIES: readonly Capability[] = ['pull', 'resolve', 'push'];

/** One host: the registry itself or a mirror of it. */
export interface RegistryHost {
  /** `https://HOST[:PORT]/v2`, without a slash at the end. */
  readonly baseUrl: string;
  readonly capabilities: ReadonlySet<Capability>;
  readonly headers: ReadonlyMap<string, string>;
  readonly tls: RegistryTls;
  /** Longest wait for a connection; undefined for the client's own limit. */
  readonly dialTimeoutMs?: number | undefined;
}

export interface RegistryTls {
  readonly isUnverified: boolean;
  /** PEM certificates of authorities that are trusted besides the system's. */
  readonly ca: readonly string[];
  /** PEM certificate and key of the client. */
  readonly client: { readonly cert: string; readonly key: string } | undefined;
}

export const NO_TLS: RegistryTls = { isUnverified: false, ca: [], client: undefined };

/** Whether a registry is this machine, where plain HTTP gives nothing away. */
export function isLoopback(registry: string): boolean {
  const [, host = '', port] = /^(.*?)(?::([0-9]+))?$/.exec(registry) ?? [];
  if (port === '443') return false;
  return host === 'localhost' || host === '[::1]' || /^127(?:\.[0-9]{1,3}){3}$/.test(host);
}

/** The host that a registry's name stands for: `docker.io` is a name only. */
export function apiHost(registry: string): string {
  return registry === 'docker.io' ? 'registry-1.docker.io' : registry;
}
