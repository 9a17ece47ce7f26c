import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { type PodSandboxConfig, Protocol } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import { createNetworkNamespace, removeNetworkNamespace } from '../linux/network-namespace.ts';
import { loadNetworks } from './cni-config.ts';
import { addressesOf, type CniAttachment, CniNetwork, type CniResult } from './cni-network.ts';
import type { CniConfig } from './cri-config.ts';

const IF_NAME = 'eth0';
const NETNS_DIR = '/run/netns';

/** What a pod got from its network. */
export interface PodNetworkResult {
  readonly ips: readonly string[];
  readonly result: CniResult;
}

/** The networks of pods: their namespaces and what CNI plugins put into them. */
export class PodNetworks {
  readonly #config: CniConfig;
  readonly #cacheDir: string;

  /** `cacheDir` keeps what plugins made, until they have taken it back. */
  constructor(config: CniConfig, cacheDir: string) {
    this.#config = config;
    this.#cacheDir = cacheDir;
  }

  /** Why pods cannot get a network at the moment; undefined when they can. */
  obstacle(): TsError | undefined {
    try {
      this.#networks();
      return undefined;
    } catch (thrown) {
      return TsError.from(thrown);
    }
  }

  /** A path for a new pod's namespace. */
  newNamespacePath(): string {
    const hex = randomBytes(16).toString('hex');
    return join(
      NETNS_DIR,
      `cni-${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`,
    );
  }

  createNamespace(path: string): void {
    createNetworkNamespace(path);
  }

  removeNamespace(path: string): void {
    removeNetworkNamespace(path);
  }

  /** Attaches a pod to every configured network; the first one gives its addresses. */
  async attach(id: string, config: PodSandboxConfig, netns: string): Promise<PodNetworkResult> {
    const done: { network: CniNetwork; attachment: CniAttachment }[] = [];
    let first: CniResult | undefined;
    try {
      for (const [index, network] of this.#networks().entries()) {
        const attachment = attachmentOf(id, config, netns, index);
        done.push({ network, attachment });
        const result = await network.add(attachment);
        first ??= result;
      }
    } catch (thrown) {
      const error = TsError.from(thrown);
      done.pop(); // has undone itself
      for (const { network, attachment } of done.toReversed()) {
        await network
          .delete(attachment)
          .catch((undo: unknown) => error.cleanup.push(TsError.from(undo)));
      }
      throw error;
    }
    if (first === undefined) throw new TsError('Internal', 'internal error: no network configured');
    const ips = addressesOf(first);
    if (ips.length === 0) {
      throw new TsError('Unknown', `CNI network: the plugins gave pod ${id} no IP address`, {
        code: 'TS_CNI_NO_ADDRESS',
      });
    }
    return { ips, result: first };
  }

  /** Gives back what {@link attach} got; repeating it is harmless. */
  async detach(id: string, config: PodSandboxConfig, netns: string): Promise<void> {
    const errors: TsError[] = [];
    for (const [index, network] of [...this.#networks().entries()].toReversed()) {
      try {
        await network.delete(attachmentOf(id, config, netns, index));
      } catch (thrown) {
        errors.push(TsError.from(thrown));
      }
    }
    const [error] = errors;
    if (error !== undefined) throw error;
  }

  /** Read anew each time: the directory is the cluster's to change. */
  #networks(): CniNetwork[] {
    const { confDir, maxConfNum, binDirs } = this.#config;
    return loadNetworks(confDir, maxConfNum).map(
      (config) => new CniNetwork(config, binDirs, this.#cacheDir),
    );
  }
}

const PROTOCOLS: Readonly<Record<number, string>> = {
  [Protocol.TCP]: 'tcp',
  [Protocol.UDP]: 'udp',
  [Protocol.SCTP]: 'sctp',
};

function attachmentOf(
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
