import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { PodSandboxConfig } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import {
  bindNetworkNamespace,
  createNetworkNamespace,
  removeNetworkNamespace,
} from '../linux/network-namespace.ts';
import type { Logger } from '../log/index.ts';
import { attachmentOf } from './cni-attachment.ts';
import { loadNetworks } from './cni-config.ts';
import { addressesOf, CniNetwork, type CniResult, throwFirst } from './cni-network.ts';
import { type CniPlugins, PLUGIN_TIMEOUT_MS } from './cni-plugin.ts';
import { type CniRecord, CniRecords } from './cni-records.ts';
import type { CniConfig, NetworkDirectory } from './cri-config.ts';

const NETNS_DIR = '/run/netns';
/** How soon after a failure, and how seldom at last, an address is tried to be given back again. */
const RETRY_MS = 5000;
const MAX_RETRY_MS = 300_000;

/** What a pod got from its network. */
export interface PodNetworkResult {
  readonly ips: readonly string[];
  readonly result: CniResult;
}

/** The networks of pods: their namespaces and what CNI plugins put into them. */
export class PodNetworks {
  readonly #config: CniConfig;
  readonly #namespaceDir: string;
  readonly #plugins: CniPlugins;
  readonly #records: CniRecords;
  readonly #log: Logger;
  /** Pods that are gone, whose plugins have not taken back what they made. */
  readonly #orphans = new Set<string>();
  #retry: NodeJS.Timeout | undefined;
  #retryMs = RETRY_MS;

  /** `recordDir` keeps what plugins made, until they have taken it back; `namespaceDir` has the files of namespaces. */
  constructor(
    config: CniConfig,
    recordDir: string,
    log: Logger,
    timeoutMs = PLUGIN_TIMEOUT_MS,
    namespaceDir = NETNS_DIR,
  ) {
    this.#config = config;
    this.#namespaceDir = namespaceDir;
    this.#plugins = { binDirs: config.binDirs, timeoutMs };
    this.#records = new CniRecords(recordDir);
    this.#log = log;
  }

  /** Why pods cannot get a network at the moment; undefined when they can. */
  async obstacle(): Promise<TsError | undefined> {
    try {
      for (const network of this.#networks()) await network.status();
      return undefined;
    } catch (thrown) {
      return TsError.from(thrown);
    }
  }

  /** The networks of the directory, for those who look why something is as it is. */
  describe(): { readonly name: string; readonly file: string }[] {
    return this.#networks().map(({ config: { name, file } }) => ({ name, file }));
  }

  /** A path for a new pod's namespace. */
  newNamespacePath(): string {
    const hex = randomBytes(16).toString('hex');
    return join(
      this.#namespaceDir,
      `cni-${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`,
    );
  }

  createNamespace(path: string): void {
    createNetworkNamespace(path);
  }

  /** Keeps the network namespace of a process under a path, for the plugins. */
  bindNamespace(path: string, pid: number): void {
    bindNetworkNamespace(path, pid);
  }

  removeNamespace(path: string): void {
    removeNetworkNamespace(path);
  }

  /**
   * Attaches a pod to every configured network; the first one gives its addresses. Each attachment is written down before
   * its first plugin runs. Whatever becomes of it, {@link detach} gives back what was got. `directory` is that of the
   * pod's runtime, if it has one.
   */
  async attach(
    id: string,
    config: PodSandboxConfig,
    netns: string,
    signal: AbortSignal,
    directory?: NetworkDirectory,
  ): Promise<PodNetworkResult> {
    let first: CniResult | undefined;
    for (const [index, network] of this.#networks(directory).entries()) {
      const attachment = attachmentOf(id, config, netns, index);
      const record = { network: network.config, attachment };
      await this.#records.write({ ...record, result: undefined });
      const result = await network.add(attachment, signal);
      await this.#records.write({ ...record, result });
      first ??= result;
    }
    if (first === undefined) throw new TsError('Internal', 'internal error: no network configured');
    const ips = inOrder(addressesOf(first), this.#config.ipPreference);
    if (ips.length === 0) {
      throw new TsError('Unknown', `CNI network: the plugins gave pod ${id} no IP address`, {
        code: 'TS_CNI_NO_ADDRESS',
      });
    }
    return { ips, result: first };
  }

  /**
   * Gives back what {@link attach} got, by the networks as they were then; repeating it is harmless. When it throws, what
   * is left stays written down, and is tried again until it is gone.
   */
  async detach(id: string): Promise<void> {
    try {
      const errors: TsError[] = [];
      for (const record of (await this.#records.of(id)).toReversed()) {
        try {
          await this.#networkOf(record).delete(record.attachment, record.result);
          await this.#records.remove(record);
        } catch (thrown) {
          errors.push(TsError.from(thrown));
        }
      }
      throwFirst(errors);
      this.#orphans.delete(id);
    } catch (thrown) {
      this.#orphans.add(id);
      this.#retryLater();
      throw thrown;
    }
  }

  /** As {@link detach} for a pod whose caller has heard of a failure already, or that has none: it is logged. */
  async release(id: string): Promise<void> {
    try {
      await this.detach(id);
    } catch (thrown) {
      this.#log.warn({ error: thrown, pod: id }, 'give back the network of a pod: tried again');
    }
  }

  /** Asks the plugins whether a pod's network is as they made it (CHECK). Throws what they find wrong. */
  async check(id: string): Promise<void> {
    for (const record of await this.#records.of(id)) {
      await this.#networkOf(record).check(record.attachment, record.result);
    }
  }

  /** Ids of what belongs to none of these pods: an earlier daemon could not give it back. */
  async withoutPod(pods: readonly string[]): Promise<string[]> {
    await this.#records.tidy();
    const known = new Set(pods);
    return (await this.#records.ids()).filter((id) => !known.has(id));
  }

  /** Stops trying; the next daemon goes on with it. */
  close(): void {
    clearTimeout(this.#retry);
  }

  #retryLater(): void {
    if (this.#retry !== undefined) return;
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#retryMs = Math.min(this.#retryMs * 2, MAX_RETRY_MS);
      Promise.all([...this.#orphans].map((id) => this.release(id))).then(
        () => {
          if (this.#orphans.size === 0) this.#retryMs = RETRY_MS;
        },
        () => undefined, // release throws nothing
      );
    }, this.#retryMs);
    this.#retry.unref();
  }

  #networkOf({ network }: CniRecord): CniNetwork {
    return new CniNetwork(network, this.#plugins);
  }

  /** Read anew each time: the directory is the cluster's to change. */
  #networks({ confDir, maxConfNum }: NetworkDirectory = this.#config): CniNetwork[] {
    return loadNetworks(confDir, maxConfNum).map((config) => new CniNetwork(config, this.#plugins));
  }
}

/** The preferred address first, the others in the plugins' order. */
function inOrder(ips: readonly string[], preference: CniConfig['ipPreference']): string[] {
  const isPreferred = (ip: string): boolean => ip.includes(':') === (preference === 'ipv6');
  const first = preference === 'cni' ? undefined : ips.find(isPreferred);
  return first === undefined ? [...ips] : [first, ...ips.filter((ip) => ip !== first)];
}
