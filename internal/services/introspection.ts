import type {
  Introspection,
  Plugin as PluginMessage,
} from '../api/generated/containerd.services.introspection.v1.ts';
import type { Init } from '../api/init.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { ERROR_KINDS, TsError } from '../errors/index.ts';
import { compileFilters, present } from '../metadata/filters.ts';
import type { GrpcContext } from './context.ts';
import type { Plugin } from './plugin.ts';

export interface ServerIdentity {
  /** Of this root directory, for as long as it exists. */
  readonly uuid: string;
  readonly pid: number;
  /** Inode number of the pid namespace that `pid` is of. */
  readonly pidNamespace: bigint;
}

/** Go's name of this machine's architecture. */
const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;

/** Plugins and identity of the daemon. `plugins` is asked each time. */
export function introspectionService(
  plugins: () => readonly Plugin[],
  identity: ServerIdentity,
): ServiceHandlers<typeof Introspection, GrpcContext> {
  return {
    async plugins({ filters }) {
      const matches = compileFilters(filters);
      return {
        plugins: plugins()
          .filter((plugin) =>
            matches(([field]) => {
              if (field === 'type') return present(plugin.type);
              return field === 'id' ? present(plugin.id) : undefined;
            }),
          )
          .map(pluginMessage),
      };
    },
    async server() {
      const { uuid, pid, pidNamespace } = identity;
      return { uuid, pid: BigInt(pid), pidns: pidNamespace };
    },
    async pluginInfo({ type, id, options }) {
      const plugin = plugins().find((candidate) => candidate.type === type && candidate.id === id);
      if (plugin === undefined) {
        throw new TsError('NotFound', `plugin ${type}.${id}: not found`);
      }
      return { plugin: pluginMessage(plugin), extra: await plugin.info?.(options) };
    },
  };
}

function pluginMessage(plugin: Plugin): Init<PluginMessage> {
  const { type, id, requires, capabilities, exports, initError } = plugin;
  return {
    type,
    id,
    requires: requires ?? [],
    capabilities: capabilities ?? [],
    exports: exports ?? [],
    platforms:
      plugin.isPlatformSpecific === true ? [{ os: 'linux', architecture: ARCHITECTURE }] : [],
    initErr: initError === undefined ? undefined : statusOf(initError),
  };
}

function statusOf(thrown: unknown): { code: number; message: string } {
  const error = TsError.from(thrown);
  return { code: ERROR_KINDS[error.kind].status, message: error.text };
}
