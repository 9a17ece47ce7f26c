import { TsError } from '../errors/index.ts';
import { type CniNetworkConfig, type CniPluginConfig, isObject } from './cni-config.ts';
import { type CniCall, type CniCommand, type CniPlugins, runPlugin } from './cni-plugin.ts';

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

/** A network as the chain of its plugins. */
export class CniNetwork {
  readonly config: CniNetworkConfig;
  readonly #plugins: CniPlugins;

  constructor(config: CniNetworkConfig, plugins: CniPlugins) {
    this.config = config;
    this.#plugins = plugins;
  }

  /**
   * ADD through the chain. What it made is not taken back when a plugin fails: whoever calls it deletes the attachment then,
   * as every plugin must bear (specification, section 2: DEL).
   */
  async add(attachment: CniAttachment, signal: AbortSignal): Promise<CniResult> {
    let result: CniResult | undefined;
    for (const plugin of this.config.plugins) {
      result = (await this.#call('ADD', plugin, attachment, result, signal)) ?? result;
    }
    if (result !== undefined) return result;
    throw new TsError('Unknown', `CNI network ${this.config.name}: no plugin gave a result`);
  }

  /** CHECK through the chain, with the result of ADD: throws what a plugin finds wrong. */
  async check(attachment: CniAttachment, result: CniResult | undefined): Promise<void> {
    if (this.config.disableCheck || !this.#isSince('0.4.0')) return;
    for (const plugin of this.config.plugins) {
      await this.#call('CHECK', plugin, attachment, result);
    }
  }

  /**
   * DEL through the chain, backwards, with the result of ADD if it is known. Every plugin is asked, whatever another
   * answers; the first error is thrown then, with the others attached.
   */
  async delete(attachment: CniAttachment, result: CniResult | undefined): Promise<void> {
    const errors: TsError[] = [];
    for (const plugin of this.config.plugins.toReversed()) {
      try {
        await this.#call('DEL', plugin, attachment, this.#isSince('0.4.0') ? result : undefined);
      } catch (thrown) {
        errors.push(TsError.from(thrown));
      }
    }
    throwFirst(errors);
  }

  /** STATUS through the chain, for networks of version 1.1: throws why a plugin could not serve an ADD now. */
  async status(): Promise<void> {
    if (!this.#isSince('1.1.0')) return;
    for (const plugin of this.config.plugins) {
      await this.#run(plugin, { command: 'STATUS' }, {});
    }
  }

  async #call(
    command: CniCommand,
    plugin: CniPluginConfig,
    { capabilityArgs, ...call }: CniAttachment,
    previous: CniResult | undefined,
    signal?: AbortSignal,
  ): Promise<CniResult | undefined> {
    const runtimeConfig = Object.fromEntries(
      Object.entries(capabilityArgs).filter(([name]) => plugin.capabilities.has(name)),
    );
    const more = {
      ...(previous === undefined ? {} : { prevResult: previous }),
      ...(Object.keys(runtimeConfig).length === 0 ? {} : { runtimeConfig }),
    };
    return await this.#run(plugin, { command, ...call }, more, signal);
  }

  async #run(
    plugin: CniPluginConfig,
    call: CniCall,
    more: Readonly<Record<string, unknown>>,
    signal?: AbortSignal,
  ): Promise<CniResult | undefined> {
    const { name, cniVersion } = this.config;
    const { capabilities: _ours, ...raw } = plugin.raw;
    const config = { ...raw, name, cniVersion, ...more };
    return await runPlugin(plugin.type, this.#plugins, call, config, signal);
  }

  #isSince(version: string): boolean {
    return compareVersions(this.config.cniVersion, version) >= 0;
  }
}

/** Throws the first of some errors, if there is one, with the others attached. */
export function throwFirst(errors: readonly TsError[]): void {
  const [first, ...others] = errors;
  if (first === undefined) return;
  first.cleanup.push(...others);
  throw first;
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
