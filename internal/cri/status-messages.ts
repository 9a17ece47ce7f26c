import {
  type Container as ContainerMessage,
  ContainerState,
  type ContainerStatus,
  type PodSandbox,
  PodSandboxState,
  type PodSandboxStatus,
} from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import type { Container } from './container.ts';
import type { Sandbox } from './sandbox.ts';
import { criSignal } from './stop-signal.ts';

export function sandboxStateOf(sandbox: Sandbox): PodSandboxState {
  return sandbox.isReady ? PodSandboxState.SANDBOX_READY : PodSandboxState.SANDBOX_NOTREADY;
}

export function sandboxMessage(sandbox: Sandbox): Init<PodSandbox> {
  const { id, config, state } = sandbox;
  return {
    id,
    metadata: config.metadata,
    state: sandboxStateOf(sandbox),
    createdAt: state.createdAt,
    labels: config.labels,
    annotations: config.annotations,
    runtimeHandler: state.handler,
  };
}

export function sandboxStatus(sandbox: Sandbox): Init<PodSandboxStatus> {
  const { state } = sandbox;
  const [ip = '', ...more] = state.ips;
  return {
    ...sandboxMessage(sandbox),
    network: { ip, additionalIps: more.map((address) => ({ ip: address })) },
    linux: { namespaces: { options: sandbox.namespaceOptions } },
  };
}

export function containerMessage(container: Container): Init<ContainerMessage> {
  const { id, config, state } = container;
  return {
    id,
    podSandboxId: state.sandboxId,
    metadata: config.metadata,
    image: { ...config.image, image: state.image },
    imageRef: state.imageId,
    imageId: state.imageId,
    state: container.phase,
    createdAt: state.createdAt,
    labels: config.labels,
    annotations: config.annotations,
  };
}

export function containerStatus(container: Container): Init<ContainerStatus> {
  const { id, config, state } = container;
  const { uid, gid, additionalGids = [] } = state.user;
  return {
    id,
    metadata: config.metadata,
    state: container.phase,
    createdAt: state.createdAt,
    startedAt: state.startedAt,
    finishedAt: state.finishedAt,
    exitCode: state.exitCode,
    image: { ...config.image, image: state.image },
    imageRef: state.imageRef,
    imageId: state.imageId,
    reason: reasonOf(container),
    message: state.message,
    labels: config.labels,
    annotations: config.annotations,
    mounts: config.mounts,
    logPath: state.logPath,
    resources:
      config.linux?.resources === undefined ? undefined : { linux: config.linux.resources },
    user: {
      linux: { uid: BigInt(uid), gid: BigInt(gid), supplementalGroups: additionalGids.map(BigInt) },
    },
    stopSignal: criSignal(state.stopSignal),
  };
}

/** What a kubelet shows as the reason of an end. */
function reasonOf({ phase, state }: Container): string {
  if (phase !== ContainerState.CONTAINER_EXITED || state.reason !== '') return state.reason;
  return state.exitCode === 0 ? 'Completed' : 'Error';
}
