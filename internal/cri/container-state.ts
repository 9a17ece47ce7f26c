import type { ContainerConfig } from '../api/generated/runtime.v1.ts';
import { nowNs } from '../api/time.ts';
import { logPathOf } from './container-io.ts';
import type { CriImage } from './cri-images.ts';
import type { ContainerState } from './cri-records.ts';
import type { Sandbox } from './sandbox.ts';
import { stopSignal } from './stop-signal.ts';

/** The state of a container that is about to be made. Throws InvalidArgument for a log path that leaves the pod's directory. */
export function newContainerState(options: {
  readonly name: string;
  readonly sandbox: Sandbox;
  readonly config: ContainerConfig;
  readonly image: CriImage;
  /** That the container has it by: the request's, or what a checkpoint belongs to. */
  readonly imageName: string;
  readonly runtime: string;
  readonly snapshotter: string;
}): ContainerState {
  const { name, sandbox, config, image, imageName, runtime, snapshotter } = options;
  return {
    name,
    sandboxId: sandbox.id,
    image: imageName,
    imageId: image.id,
    imageRef: image.repoDigests[0] ?? image.id,
    runtime,
    snapshotter,
    logPath: logPathOf(sandbox.config.logDirectory, config.logPath),
    stopSignal: stopSignal(config, image.process.stopSignal),
    user: { uid: 0, gid: 0 },
    createdAt: nowNs(),
    startedAt: 0n,
    finishedAt: 0n,
    exitCode: 0,
    reason: '',
    message: '',
    isRemoving: false,
  };
}
