import { type ContainerConfig, ContainerState as CriState } from '../api/generated/runtime.v1.ts';
import type { ContainerState } from './cri-records.ts';

/** A container: the request it was made from, its state, and what is known of its process. */
export class Container {
  readonly id: string;
  readonly config: ContainerConfig;
  state: ContainerState;
  /** Of the process; 0 when there is none. */
  pid = 0;
  /** Set when the kernel has killed a process of it for memory. */
  isOomKilled = false;
  /** Set before it is killed: from then on it may be frozen, or have lost some of its processes. */
  isKilled = false;
  /** Resolves when the container has ended and its state says how. */
  ended: Promise<void> = Promise.resolve();
  /**
   * While it is started: whether it was, once that is written down and told. The end of a process may come before the
   * answer to its start.
   */
  starting: Promise<boolean> | undefined;

  constructor(id: string, config: ContainerConfig, state: ContainerState) {
    this.id = id;
    this.config = config;
    this.state = state;
  }

  get phase(): CriState {
    const { startedAt, finishedAt } = this.state;
    if (finishedAt !== 0n) return CriState.CONTAINER_EXITED;
    return startedAt !== 0n ? CriState.CONTAINER_RUNNING : CriState.CONTAINER_CREATED;
  }

  get isRunning(): boolean {
    return this.phase === CriState.CONTAINER_RUNNING;
  }
}

/** A container's name among all containers. */
export function containerName(config: ContainerConfig, sandboxName: string): string {
  const { name = '', attempt = 0 } = config.metadata ?? {};
  return [name, sandboxName, attempt].join('_');
}
