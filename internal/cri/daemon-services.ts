import type { Containers } from '../api/generated/containerd.services.containers.v1.ts';
import type { Content } from '../api/generated/containerd.services.content.v1.ts';
import type { Diff } from '../api/generated/containerd.services.diff.v1.ts';
import type { Events } from '../api/generated/containerd.services.events.v1.ts';
import type { Images } from '../api/generated/containerd.services.images.v1.ts';
import type { Leases } from '../api/generated/containerd.services.leases.v1.ts';
import type { Snapshots } from '../api/generated/containerd.services.snapshots.v1.ts';
import type { Tasks } from '../api/generated/containerd.services.tasks.v1.ts';
import type { Mount } from '../api/generated/containerd.types.ts';
import type { AuthConfig } from '../api/generated/runtime.v1.ts';
import type { CallOptions, ServiceClient } from '../api/service.ts';

/** What the CRI uses of the daemon: its services, in the namespace of Kubernetes, and what they do not offer. */
export interface DaemonServices {
  readonly containers: ServiceClient<typeof Containers>;
  readonly content: ServiceClient<typeof Content>;
  readonly diff: ServiceClient<typeof Diff>;
  readonly events: ServiceClient<typeof Events>;
  readonly images: ServiceClient<typeof Images>;
  readonly leases: ServiceClient<typeof Leases>;
  readonly snapshots: ServiceClient<typeof Snapshots>;
  readonly tasks: ServiceClient<typeof Tasks>;
  /** Does work of several calls under a lease that ends with it: nothing that they make is collected before, all of it after. */
  withLease<T>(work: (options: CallOptions) => Promise<T>): Promise<T>;
  /** Pulls an image and unpacks it. */
  pull(request: PullRequest): Promise<void>;
  /** Mounts what a snapshotter answers, at a directory. */
  mount(mounts: readonly Mount[], target: string): void;
  /** Directory of a snapshotter's files, for the usage of its file system. */
  snapshotterRoot(name: string): string;
  /** The log of a task's output that its shim writes itself. */
  logs: TaskLogs;
}

export interface PullRequest {
  /** Full reference: host, repository, tag or digest. */
  readonly reference: string;
  /** Further names for the image; `target` is the digest of what the reference resolved to. */
  readonly auth: AuthConfig | undefined;
  readonly snapshotter: string;
  readonly signal: AbortSignal;
}

/** The logs of tasks that their shim writes itself (tscontainerd.shim.v1.Logs). */
export interface TaskLogs {
  /** Opens the files anew, for rotation. */
  reopen(id: string): Promise<void>;
  /** Output from now on, until it ends or `signal` aborts; `onAttached` is called when nothing is missed any more. */
  attach(
    id: string,
    streams: { readonly stdout: boolean; readonly stderr: boolean },
    signal: AbortSignal,
    onAttached: () => void,
  ): AsyncIterable<LogOutput>;
}

export interface LogOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Uint8Array;
}
