import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TsError } from '../errors/index.ts';
import {
  type CniNetworkConfig,
  type CniPluginConfig,
  isObject,
  parseNetwork,
} from './cni-config.ts';
import { type CniCall, type CniCommand, runPlugin } from './cni-plugin.ts';

/** What of a pod its network needs to know. */
export interface CniAttachment {
  readonly containerId: string;
  readonly netns: string;
  readonly ifName: string;
  /** `K8S_POD_NAME=…;…`, a list of CNI_ARGS. */
  readonly args: string;
  /** By capability: `portMappings`, `bandwidth`, `dns`, … */
  readonly capabilityArgs: Readonly<Record<string, unknown>>;
}

/** The specification's result, as the last plugin of the chain printed it. */
export type CniResult = Readonly<Record<string, unknown>>;

/** What ADD leaves behind, so that CHECK and DEL speak of the same network when the configuration has changed. */
interface CachedAttachment {
  readonly kind: 'tscontainerdCniV1';
  /** The configuration list, as JSON text. */
  readonly network: string;
  readonly attachment: CniAttachment;
  readonly result: CniResult | undefined;
}

/** Attaches pods to a network: the chain of its plugins, with the results kept in a directory. */
export class CniNetwork {
  readonly config: CniNetworkConfig;
  readonly #binDirs: readonly string[];
  readonly #cacheDir: string;

  constructor(config: CniNetworkConfig, binDirs: readonly string[], cacheDir: string) {
    this.config = config;
    this.#binDirs = binDirs;
    this.#cacheDir = cacheDir;
  }

  /**
   * ADD through the chain. When a plugin fails, what those before it made is deleted again. The intent is written down before
   * the first plugin runs, so that an address is given back even if this process is killed meanwhile.
   */
  async add(attachment: CniAttachment): Promise<CniResult> {
    this.#remember(attachment, undefined);
    let result: CniResult | undefined;
    try {
      for (const plugin of this.config.plugins) {
        result = (await this.#call('ADD', plugin, attachment, result)) ?? result;
      }
      if (result === undefined) {
        throw new TsError('Unknown', `CNI network ${this.config.name}: no plugin gave a result`);
      }
    } catch (thrown) {
      const error = TsError.from(thrown);
      await this.delete(attachment).catch((undo: unknown) =>
        error.cleanup.push(TsError.from(undo)),
      );
      throw error;
    }
    this.#remember(attachment, result);
    return result;
  }

  /** CHECK: throws what a plugin finds wrong. */
  async check(attachment: CniAttachment): Promise<void> {
    if (this.config.disableCheck || compareVersions(this.config.cniVersion, '0.4.0') < 0) return;
    const cached = this.#recall(attachment);
    for (const plugin of this.config.plugins) {
      await this.#call('CHECK', plugin, attachment, cached?.result);
    }
  }

  /**
   * DEL through the chain that made the attachment, backwards. Every plugin is asked, whatever another answers; the first
   * error is thrown then.
   */
  async delete(attachment: CniAttachment): Promise<void> {
    const cached = this.#recall(attachment);
    const file = this.#cacheFile(attachment);
    const config =
      cached === undefined ? this.config : parseNetwork(cached.network, `${file}.conflist`);
    const errors: TsError[] = [];
    for (const plugin of config.plugins.toReversed()) {
      try {
        await this.#call('DEL', plugin, attachment, cached?.result, config);
      } catch (thrown) {
        errors.push(TsError.from(thrown));
      }
    }
    const [first] = errors;
    if (first !== undefined) throw first;
    rmSync(file, { force: true });
  }

  async #call(
    command: CniCommand,
    plugin: CniPluginConfig,
    attachment: CniAttachment,
    previous: CniResult | undefined,
    { name, cniVersion } = this.config,
  ): Promise<CniResult | undefined> {
    const { capabilityArgs, ...rest } = attachment;
    const call: CniCall = { command, ...rest };
    const runtimeConfig = Object.fromEntries(
      Object.entries(capabilityArgs).filter(([name]) => plugin.capabilities.has(name)),
    );
    const { capabilities: _ours, ...raw } = plugin.raw;
    const hasPrevious =
      previous !== undefined && (command !== 'DEL' || compareVersions(cniVersion, '0.4.0') >= 0);
    return await runPlugin(plugin.type, this.#binDirs, call, {
      ...raw,
      name,
      cniVersion,
      ...(hasPrevious ? { prevResult: previous } : {}),
      ...(Object.keys(runtimeConfig).length === 0 ? {} : { runtimeConfig }),
    });
  }

  #cacheFile({ containerId, ifName }: CniAttachment): string {
    return join(this.#cacheDir, `${this.config.name}-${containerId}-${ifName}`);
  }

  #remember(attachment: CniAttachment, result: CniResult | undefined): void {
    const { name, cniVersion, disableCheck, plugins } = this.config;
    const cached: CachedAttachment = {
      kind: 'tscontainerdCniV1',
      network: JSON.stringify({
        name,
        cniVersion,
        disableCheck,
        plugins: plugins.map(({ raw }) => raw),
      }),
      attachment,
      result,
    };
    const file = this.#cacheFile(attachment);
    try {
      mkdirSync(this.#cacheDir, { recursive: true, mode: 0o700 });
      writeFileSync(file, JSON.stringify(cached), { mode: 0o600 });
    } catch (thrown) {
      throw TsError.from(thrown, `write ${file}`);
    }
  }

  #recall(attachment: CniAttachment): CachedAttachment | undefined {
    let text: string;
    try {
      text = readFileSync(this.#cacheFile(attachment), 'utf8');
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw TsError.from(thrown, `read ${this.#cacheFile(attachment)}`);
    }
    try {
      const value: unknown = JSON.parse(text);
      return isObject(value) && value['kind'] === 'tscontainerdCniV1'
        ? (value as unknown as CachedAttachment)
        : undefined;
    } catch {
      return undefined; // cut off by a crash: plugins get no previous result, which they must bear for DEL
    }
  }
}

/** The IP addresses of a result's interface in the pod, without their prefix lengths, in the plugin's order. */
export function addressesOf(result: CniResult): string[] {
  const ips = result['ips'];
  if (Array.isArray(ips)) {
    return ips.flatMap((entry: unknown) =>
      isObject(entry) && typeof entry['address'] === 'string'
        ? [withoutPrefix(entry['address'])]
        : [],
    );
  }
  // Results before version 0.3.0.
  return [result['ip4'], result['ip6']].flatMap((entry) =>
    isObject(entry) && typeof entry['ip'] === 'string' ? [withoutPrefix(entry['ip'])] : [],
  );
}

const withoutPrefix = (address: string): string => address.split('/')[0] ?? address;

function compareVersions(a: string, b: string): number {
  const numbers = (text: string): number[] => text.split('.').map(Number);
  const [left, right] = [numbers(a), numbers(b)];
  for (let index = 0; index < 3; index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
