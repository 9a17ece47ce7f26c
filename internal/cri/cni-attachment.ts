import { type PodSandboxConfig, Protocol } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import type { CniAttachment } from './cni-network.ts';

const IF_NAME = 'eth0';

const PROTOCOLS: Readonly<Record<number, string>> = {
  [Protocol.TCP]: 'tcp',
  [Protocol.UDP]: 'udp',
  [Protocol.SCTP]: 'sctp',
};

/** What the plugins of a pod's network number `index` are told of it. Throws InvalidArgument for what would be misread. */
export function attachmentOf(
  id: string,
  config: PodSandboxConfig,
  netns: string,
  index: number,
): CniAttachment {
  const { namespace = '', name = '', uid = '' } = config.metadata ?? {};
  const args = {
    IgnoreUnknown: '1',
    K8S_POD_NAMESPACE: namespace,
    K8S_POD_NAME: name,
    K8S_POD_INFRA_CONTAINER_ID: id,
    K8S_POD_UID: uid,
  };
  return {
    containerId: id,
    netns,
    ifName: index === 0 ? IF_NAME : `eth${index}`,
    args: Object.entries(args)
      .map(([key, value]) => `${key}=${checkedArg(key, value)}`)
      .join(';'),
    capabilityArgs: capabilityArgs(config),
  };
}

/** A semicolon in a name would make more arguments of one. */
function checkedArg(key: string, value: string): string {
  if (!/[;\n\0]/.test(value)) return value;
  throw new TsError('InvalidArgument', `pod ${key}: ${JSON.stringify(value)} holds a separator`);
}

function capabilityArgs(config: PodSandboxConfig): Record<string, unknown> {
  const portMappings = config.portMappings
    .filter(({ hostPort }) => hostPort > 0)
    .map(({ hostPort, containerPort, protocol, hostIp }) => ({
      hostPort,
      containerPort,
      protocol: PROTOCOLS[protocol] ?? 'tcp',
      ...(hostIp === '' ? {} : { hostIP: hostIp }),
    }));
  const bandwidth = bandwidthOf(config.annotations);
  const dns = config.dnsConfig;
  return {
    ...(portMappings.length === 0 ? {} : { portMappings }),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    ...(dns === undefined
      ? {}
      : { dns: { servers: dns.servers, searches: dns.searches, options: dns.options } }),
    'io.kubernetes.cri.pod-annotations': Object.fromEntries(config.annotations),
    ...(config.linux?.cgroupParent ? { cgroupPath: config.linux.cgroupParent } : {}),
  };
}

const NO_BURST_LIMIT = 2 ** 31 - 1;

/** `kubernetes.io/ingress-bandwidth: 10M` and its counterpart, in bits a second. */
function bandwidthOf(annotations: ReadonlyMap<string, string>) {
  const rate = (direction: 'ingress' | 'egress'): number | undefined => {
    const key = `kubernetes.io/${direction}-bandwidth`;
    const text = annotations.get(key);
    return text === undefined ? undefined : parseQuantity(key, text);
  };
  const [ingress, egress] = [rate('ingress'), rate('egress')];
  if (ingress === undefined && egress === undefined) return undefined;
  return {
    ...(ingress === undefined ? {} : { ingressRate: ingress, ingressBurst: NO_BURST_LIMIT }),
    ...(egress === undefined ? {} : { egressRate: egress, egressBurst: NO_BURST_LIMIT }),
  };
}

const SUFFIXES: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Kubernetes allows a kilobit up to a petabit. */
function parseQuantity(key: string, text: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?)(|[kMGT]|[KMGT]i)$/.exec(text);
  const value = Math.round(Number(match?.[1] ?? Number.NaN) * (SUFFIXES[match?.[2] ?? ''] ?? 1));
  if (value >= 1e3 && value <= 1e15) return value;
  throw new TsError('InvalidArgument', `annotation ${key}: ${JSON.stringify(text)}`, {
    advice: 'give bits a second from 1k to 1P, such as 10M',
  });
}
