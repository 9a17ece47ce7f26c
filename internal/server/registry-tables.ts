import { join } from 'node:path';
import type { ConfigFile } from '../config/index.ts';
import type { AuthSetting, RegistrySettings, TlsSetting } from '../registry/registry-settings.ts';
import type { RegistryDefaults } from '../services/registry-message.ts';

/** containerd's and Docker's place for hosts.toml; a missing directory is no configuration. */
const DEFAULT_HOST_DIR = '/etc/containerd/certs.d';

type Registry = ConfigFile['plugins']['io.containerd.cri.v1.images']['registry'];
type Config = NonNullable<Registry['configs'][string]>;

/** The tables `registry.mirrors`, `.configs`, `.auths` and `.headers` of the configuration, as the puller takes them. */
export function registrySettings(registry: Registry): RegistrySettings {
  const configs = new Map<string, { auth?: AuthSetting; tls?: TlsSetting }>();
  // The oldest table has URLs as keys; a host's own table is the newer word.
  for (const [key, auth] of Object.entries(registry.auths)) {
    const host = URL.canParse(key) && key.includes('://') ? new URL(key).host : key;
    configs.set(host, { auth: authOf(auth) });
  }
  for (const [host, { auth, tls }] of Object.entries(registry.configs)) {
    configs.set(host, {
      ...configs.get(host),
      ...(auth === undefined ? {} : { auth: authOf(auth) }),
      ...(tls === undefined ? {} : { tls: tlsOf(tls) }),
    });
  }
  return {
    mirrors: new Map(
      Object.entries(registry.mirrors).map(([host, { endpoint }]) => [host, endpoint]),
    ),
    configs,
    headers: new Map(
      Object.entries(registry.headers).map(([name, values]) => [name, values.join(', ')]),
    ),
  };
}

/**
 * What is said of registries. The tables of the CRI plugin hold for all clients: one that pulls by
 * hand what a kubelet cannot pull meets the same hosts and credentials.
 */
export function registryDefaults(plugins: ConfigFile['plugins']): RegistryDefaults {
  const { registry } = plugins['io.containerd.cri.v1.images'];
  const hostDir = plugins['io.containerd.transfer.v1.local'].config_path || registry.config_path;
  const dockerDirectory = process.env['DOCKER_CONFIG'] ?? '';
  return {
    hostDir: hostDir || DEFAULT_HOST_DIR,
    settings: registrySettings(registry),
    dockerConfigPath: dockerDirectory === '' ? '' : join(dockerDirectory, 'config.json'),
  };
}

function authOf(auth: NonNullable<Config['auth']>): AuthSetting {
  const { username, password, auth: encoded, identitytoken } = auth;
  return { username, password, auth: encoded, identityToken: identitytoken };
}

function tlsOf(tls: NonNullable<Config['tls']>): TlsSetting {
  return {
    isUnverified: tls.insecure_skip_verify,
    caFile: tls.ca_file,
    certFile: tls.cert_file,
    keyFile: tls.key_file,
  };
}
