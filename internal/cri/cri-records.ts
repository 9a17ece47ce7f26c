/**
 * What the CRI knows of a pod or container, as it is kept in the record of the daemon's container store: the kubelet's
 * request, byte for byte, and a state of our own as JSON. Everything else is found out anew after a restart.
 */
import type { AnyMessage } from '../api/any.ts';
import { packAny, unpackAny } from '../api/any.ts';
import type { Container as ContainerMessage } from '../api/generated/containerd.services.containers.v1.ts';
import { ContainerConfig, PodSandboxConfig } from '../api/generated/runtime.v1.ts';
import { TsError } from '../errors/index.ts';
import { formatJson, type Spec, type User } from '../oci/index.ts';

/** Namespace of the daemon that holds everything of Kubernetes. */
export const NAMESPACE = 'k8s.io';
/** Label that tells pods from containers, as containerd has it. */
export const KIND_LABEL = 'io.cri-containerd.kind';
export type RecordKind = 'sandbox' | 'container';

/** Names of the extensions. */
export const CONFIG_EXTENSION = 'io.cri-containerd.config';
export const STATE_EXTENSION = 'io.cri-containerd.state';
const STATE_TYPE = 'tscontainerd.cri.v1.State';

const SPEC_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/Spec';

/** How far a pod has come. `creating` is written before anything is made, so that a crash leaves a note of it. */
export type SandboxPhase = 'creating' | 'ready' | 'stopped';

/** State of a pod. */
export interface SandboxState {
  readonly name: string;
  readonly runtime: string;
  /** The RuntimeClass handler of the request; '' for the default runtime. */
  readonly handler: string;
  readonly phase: SandboxPhase;
  readonly createdAt: bigint;
  /** File of the network namespace; '' for the host's, or none any more. */
  readonly netns: string;
  readonly ips: readonly string[];
  /** Name of the pause image; '' for the built-in pause. */
  readonly image: string;
  /** SELinux label that is kept for the pod; none in records from before there were any. */
  readonly processLabel?: string;
}

/** State of a container. Times are nanoseconds since the epoch, 0 for not yet. */
export interface ContainerState {
  readonly name: string;
  readonly sandboxId: string;
  /** Name of the image in the request, and the id of the image's configuration. */
  readonly image: string;
  readonly imageId: string;
  /** A name of the image with its digest. */
  readonly imageRef: string;
  readonly runtime: string;
  readonly snapshotter: string;
  readonly logPath: string;
  readonly stopSignal: string;
  readonly user: User;
  readonly createdAt: bigint;
  readonly startedAt: bigint;
  readonly finishedAt: bigint;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  readonly isRemoving: boolean;
  /** SELinux label that is kept for the container; none in records from before there were any. */
  readonly processLabel?: string;
}

/** Prefixes of labels by which the daemon and other clients of it act: to keep, to restart, to run a program. */
const RESERVED = ['containerd.io/', 'io.containerd.', 'io.cri-containerd.', 'nerdctl/'];

/**
 * Labels of a record. Those of a pod are its author's: none of them may mean anything to the daemon (CVE-2026-53488). The
 * request keeps them all.
 */
export function recordLabels(
  labels: ReadonlyMap<string, string>,
  kind: RecordKind,
): [string, string][] {
  const own = [...labels].filter(([key]) => !RESERVED.some((prefix) => key.startsWith(prefix)));
  return [...own, [KIND_LABEL, kind]];
}

/** The extensions of a pod's record. */
export function sandboxExtensions(
  config: PodSandboxConfig,
  state: SandboxState,
): [string, AnyMessage][] {
  return [
    [CONFIG_EXTENSION, packAny(PodSandboxConfig, config)],
    [STATE_EXTENSION, encodeState(state)],
  ];
}

export function containerExtensions(
  config: ContainerConfig,
  state: ContainerState,
): [string, AnyMessage][] {
  return [
    [CONFIG_EXTENSION, packAny(ContainerConfig, config)],
    [STATE_EXTENSION, encodeState(state)],
  ];
}

/** A pod from its record. Throws DataLoss when the record is not one of ours. */
export function readSandbox(record: ContainerMessage): {
  config: PodSandboxConfig;
  state: SandboxState;
} {
  const config = unpackAny(record.extensions.get(CONFIG_EXTENSION), PodSandboxConfig);
  return { config: present(record, config), state: decodeState(record) as unknown as SandboxState };
}

export function readContainer(record: ContainerMessage): {
  config: ContainerConfig;
  state: ContainerState;
} {
  const config = unpackAny(record.extensions.get(CONFIG_EXTENSION), ContainerConfig);
  return {
    config: present(record, config),
    state: decodeState(record) as unknown as ContainerState,
  };
}

function present<T>(record: ContainerMessage, config: T | undefined): T {
  if (config !== undefined) return config;
  throw new TsError('DataLoss', `record ${record.id}: no configuration of the CRI in it`);
}

const BIGINT = /^-?[0-9]+n$/;

/** State as JSON; a bigint is a string of digits with an n. */
export function encodeState(state: SandboxState | ContainerState): AnyMessage {
  const text = JSON.stringify(state, (_key, value: unknown) =>
    typeof value === 'bigint' ? `${value}n` : value,
  );
  return { typeUrl: STATE_TYPE, value: Buffer.from(text) };
}

function decodeState(record: ContainerMessage): Record<string, unknown> {
  const any = record.extensions.get(STATE_EXTENSION);
  if (any?.typeUrl !== STATE_TYPE) {
    throw new TsError('DataLoss', `record ${record.id}: no state of the CRI in it`);
  }
  try {
    return JSON.parse(Buffer.from(any.value).toString('utf8'), (key, value: unknown) =>
      typeof value === 'string' && key.endsWith('At') && BIGINT.test(value)
        ? BigInt(value.slice(0, -1))
        : value,
    ) as Record<string, unknown>;
  } catch (cause) {
    throw new TsError('DataLoss', `record ${record.id}: its state is not JSON`, { cause });
  }
}

/** An OCI spec as the daemon keeps it. */
export function specAny(spec: Spec): AnyMessage {
  return { typeUrl: SPEC_TYPE, value: Buffer.from(formatJson(spec)) };
}
