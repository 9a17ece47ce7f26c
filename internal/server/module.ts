import type { GrpcService } from '../services/context.ts';
import type { Core } from './core.ts';

/** A part of the daemon as clients see it through the introspection service. */
export interface Plugin {
  /** `io.containerd.snapshotter.v1`. */
  readonly type: string;
  /** `overlayfs`. */
  readonly id: string;
  /** Types that it needs, `*` for all. */
  readonly requires?: readonly string[];
  readonly capabilities?: readonly string[];
  readonly exports?: Readonly<Record<string, string>>;
  /** Whether it runs images of this machine's platform. */
  readonly isPlatformSpecific?: boolean;
  /** Why it is not there, if so. */
  readonly initError?: unknown;
}

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

/** Opens a module. Modules are opened in order; later ones see what earlier ones put into `core`. */
export type OpenModule = (core: Core) => DaemonModule | Promise<DaemonModule>;
