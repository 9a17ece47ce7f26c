import type { GrpcService } from '../services/context.ts';
import type { Plugin } from '../services/plugin.ts';
import type { Core } from './core.ts';

/** What a module brings to the daemon. */
export interface DaemonModule {
  readonly plugins: readonly Plugin[];
  readonly services: readonly GrpcService[];
  /** Called when all modules are open, before the first connection is accepted. */
  start?(): Promise<void>;
  /** What the module waits for at the moment, a line each, for the dump on SIGUSR1. */
  waits?(): string[];
  /** Stops background work. Containers go on. */
  close?(): Promise<void>;
}

/** Opens a module. */
export type OpenModule = (core: Core) => DaemonModule | Promise<DaemonModule>;
