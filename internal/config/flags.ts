import type { ConfigFile } from './daemon-schema.ts';
import { levelOf } from './log-level.ts';

/** What the daemon's command line says about its configuration. */
export interface Flags {
  readonly root?: string | undefined;
  readonly state?: string | undefined;
  readonly address?: string | undefined;
  readonly logLevel?: string | undefined;
}

/** The configuration with the flags on top. A level that is none is InvalidArgument. */
export function withFlags(config: ConfigFile, flags: Flags): ConfigFile {
  return {
    ...config,
    root: flags.root ?? config.root,
    state: flags.state ?? config.state,
    grpc: { ...config.grpc, address: flags.address ?? config.grpc.address },
    debug: {
      ...config.debug,
      level: flags.logLevel === undefined ? config.debug.level : levelOf(flags.logLevel),
    },
  };
}
