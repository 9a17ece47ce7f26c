import type { StringMap } from './spec.ts';

/** runtime-spec runtime.md#state; `paused` is what runc adds. */
export type ContainerStatus = 'creating' | 'created' | 'running' | 'paused' | 'stopped';

/** The state of a container as hooks and seccomp agents get it (runtime-spec runtime.md#state). */
export interface State {
  readonly ociVersion: string;
  readonly id: string;
  readonly status: ContainerStatus;
  /** In the runtime's pid namespace; absent unless created or running. */
  readonly pid?: number;
  readonly bundle: string;
  readonly annotations?: StringMap;
}
