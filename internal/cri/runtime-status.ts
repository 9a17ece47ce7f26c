import type { StatusResponse } from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import { formatJson } from '../oci/index.ts';
import type { Cri } from './cri.ts';

const CONFIG_ERRORS: readonly (string | undefined)[] = ['TS_CNI_NO_CONFIG', 'TS_CNI_CONFIG'];

/** What a kubelet decides by whether the node is ready. */
export async function runtimeStatus(cri: Cri, isVerbose: boolean): Promise<Init<StatusResponse>> {
  const obstacle = await cri.networks.obstacle();
  // What a plugin itself says (STATUS) is no lack of a configuration.
  const isConfig = CONFIG_ERRORS.includes(obstacle?.code);
  const { runtimes, defaultRuntime } = cri.settings;
  return {
    status: {
      conditions: [
        { type: 'RuntimeReady', status: true },
        obstacle === undefined
          ? { type: 'NetworkReady', status: true }
          : {
              type: 'NetworkReady',
              status: false,
              reason: 'NetworkPluginNotReady',
              message: `Network plugin returns error: ${isConfig ? 'cni plugin not initialized: ' : ''}${obstacle.text}`,
            },
      ],
    },
    info: isVerbose ? [['config', formatJson(verboseConfig(cri))]] : [],
    // '' stands for the default handler.
    runtimeHandlers: ['', ...runtimes.keys()].map((name) => ({
      name,
      features: handlerFeatures(runtimes.get(name === '' ? defaultRuntime : name)?.type ?? ''),
    })),
    features: { supplementalGroupsPolicy: true, mountOptions: true },
  };
}

/** Shims whose runtimes make containers of namespaces and mounts; of a virtual machine's nothing is known. */
const NAMESPACE_SHIMS = ['io.containerd.tsrunc.v2', 'io.containerd.runc.v2'];

function handlerFeatures(type: string) {
  const isKnown = NAMESPACE_SHIMS.includes(type);
  return { recursiveReadOnlyMounts: isKnown, userNamespaces: isKnown };
}

function verboseConfig({ settings }: Cri): Record<string, unknown> {
  const { runtimes, ...rest } = settings;
  return { ...rest, runtimes: Object.fromEntries(runtimes) };
}
