import type { AnyMessage } from '../api/any.ts';

/** A part of the daemon as clients see it through the introspection service. */
export interface Plugin {
  /** `io.containerd.snapshotter.v1`. */
  readonly type: string;
  /** `overlayfs`. */
  readonly id: string;
  /** Types that it needs, `*` for all. */
  readonly requires?: readonly string[];
  readonly capabilities?: readonly string[];
  /** Facts for clients, such as `root`: the directory that it keeps its data in. */
  readonly exports?: ReadonlyMap<string, string>;
  /** Whether it works for images of this machine's platform only. */
  readonly isPlatformSpecific?: boolean;
  /** Why it is not there, if so. */
  readonly initError?: unknown;
  /** Answers PluginInfo, for plugins that have more to say (a runtime's features). */
  readonly info?: (options: AnyMessage | undefined) => Promise<AnyMessage | undefined>;
}
