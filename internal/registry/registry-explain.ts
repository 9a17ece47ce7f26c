import { dockerConfigSource } from './docker-config.ts';
import { formatReference, parseReference } from './reference.ts';
import type { Credentials } from './registry-auth.ts';
import type { RegistryHost } from './registry-host.ts';
import { chooseHosts, type HostOptions } from './registry-hosts.ts';
import { credentialsOfSettings, NO_SETTINGS } from './registry-settings.ts';

export interface ExplainOptions extends HostOptions {
  /** A config.json of Docker; '' for none. */
  readonly dockerConfigPath: string;
}

/**
 * Where the daemon would fetch an image from, and why, in lines: the hosts in the order of trial, what they
 * may be asked for, how they are spoken to. Asks no registry; secrets are not shown.
 */
export async function explainImage(name: string, options: ExplainOptions): Promise<string[]> {
  const reference = parseReference(name);
  const { hosts, source, missing } = await chooseHosts(reference.host, options);
  const { settings = NO_SETTINGS, dockerConfigPath } = options;
  const lines = [
    `image:      ${formatReference(reference)}`,
    `registry:   ${reference.host}`,
    `hosts from: ${source}`,
    ...missing.map((path) => `no file:    ${path}`),
  ];
  const isShadowed = !source.startsWith('registry.') && settings.mirrors.size > 0;
  if (isShadowed)
    lines.push('ignored:    registry.mirrors of the configuration, which comes second');
  for (const [index, host] of hosts.entries()) {
    const { host: at } = new URL(host.baseUrl);
    const credentials = await credentialsOf(at, settings, dockerConfigPath);
    lines.push('', `${index + 1}. ${host.baseUrl}`, ...detailsOf(host), `   ${credentials}`);
  }
  return lines;
}

function detailsOf({ baseUrl, capabilities, headers, tls, dialTimeoutMs }: RegistryHost): string[] {
  const asked = ['pull', 'resolve', 'push'].filter((name) =>
    (capabilities as Set<string>).has(name),
  );
  const why = capabilities.has('resolve') ? '' : ' (tags are not asked of it: no "resolve")';
  return [
    `   for ${asked.join(', ') || 'nothing: it has no capabilities'}${asked.length > 0 ? why : ''}`,
    `   ${tlsText(baseUrl, tls)}`,
    ...(headers.size === 0 ? [] : [`   headers ${[...headers.keys()].join(', ')}`]),
    ...(dialTimeoutMs === undefined ? [] : [`   at most ${dialTimeoutMs} ms to connect`]),
  ];
}

function tlsText(baseUrl: string, { isUnverified, ca, client }: RegistryHost['tls']): string {
  if (baseUrl.startsWith('http:')) return 'plain HTTP';
  if (isUnverified) return 'TLS, its certificate is not verified';
  const authorities = ca.length === 0 ? "the system's authorities" : "the system's and its own";
  const own = ca.length === 0 ? authorities : `${authorities} authorities (${ca.length} file)`;
  return `TLS, verified by ${own}${client === undefined ? '' : ', with a client certificate'}`;
}

async function credentialsOf(
  host: string,
  settings: NonNullable<HostOptions['settings']>,
  dockerConfigPath: string,
): Promise<string> {
  const ofConfig = credentialsOfSettings(host, settings);
  if (ofConfig !== undefined) return `${kindOf(ofConfig)}, of registry.configs`;
  if (dockerConfigPath !== '') {
    const ofDocker = await dockerConfigSource(dockerConfigPath)(host, []);
    if (ofDocker !== undefined) return `${kindOf(ofDocker)}, of ${dockerConfigPath}`;
  }
  return 'no credentials, unless the client gives them';
}

function kindOf(credentials: Credentials): string {
  return credentials.kind === 'password'
    ? `password of ${JSON.stringify(credentials.username)}`
    : 'a token';
}
