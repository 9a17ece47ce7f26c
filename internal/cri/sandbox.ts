import type { PodSandboxConfig } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import type { SandboxState } from './cri-records.ts';

/** A pod: the request it was made from, its state, and what is known of its pause process. */
export class Sandbox {
  readonly id: string;
  readonly config: PodSandboxConfig;
  state: SandboxState;
  /** Of the pause process; 0 when there is none. */
  pid = 0;
  /** Being stopped or removed. */
  isEnding = false;

  constructor(id: string, config: PodSandboxConfig, state: SandboxState) {
    this.id = id;
    this.config = config;
    this.state = state;
  }

  /** Ready for containers: its namespaces are held, its network is there. */
  get isReady(): boolean {
    return this.state.phase === 'ready' && this.pid !== 0;
  }

  /** Throws FailedPrecondition for one that takes no containers, or none any more. */
  requireReady(): void {
    if (this.isReady && !this.isEnding) return;
    throw new TsError('FailedPrecondition', `sandbox ${this.id}: not ready`, {
      advice: 'the kubelet makes a new one',
    });
  }

  /** What a call has failed with; FailedPrecondition, as if it had come later, when the pod has ended meanwhile. */
  orEnded(thrown: unknown): TsError {
    const error = TsError.from(thrown);
    if (this.isReady && !this.isEnding) return error;
    return new TsError('FailedPrecondition', `sandbox ${this.id}: not ready: ${error.message}`, {
      cause: error,
    });
  }

  get namespaceOptions() {
    return this.config.linux?.securityContext?.namespaceOptions;
  }
}

/** A pod's name among all pods: the same pod started again has another attempt. */
export function sandboxName(config: PodSandboxConfig): string {
  const { name = '', namespace = '', uid = '', attempt = 0 } = config.metadata ?? {};
  return [name, namespace, uid, attempt].join('_');
}

/** Throws InvalidArgument for a pod without a name, and for one that would make more of a path or a list than meant. */
export function checkMetadata(config: PodSandboxConfig): void {
  const { metadata } = config;
  for (const field of ['name', 'namespace', 'uid'] as const) {
    const value = metadata?.[field] ?? '';
    if (value === '') throw new TsError('InvalidArgument', `config.metadata.${field}: missing`);
    if (/[\0\n/]/.test(value)) {
      throw new TsError('InvalidArgument', `config.metadata.${field}: ${JSON.stringify(value)}`);
    }
  }
}
