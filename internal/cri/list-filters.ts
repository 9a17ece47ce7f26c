import type { ContainerFilter, PodSandboxFilter } from '../api/generated/runtime.v1.ts';
import type { Container } from './container.ts';
import type { Sandbox } from './sandbox.ts';
import { sandboxStateOf } from './status-messages.ts';

/** Whether every wanted label is there with its value. */
function hasLabels(
  labels: ReadonlyMap<string, string>,
  wanted: ReadonlyMap<string, string>,
): boolean {
  return [...wanted].every(([key, value]) => labels.get(key) === value);
}

/** The pods that match a filter; an id in it may be the beginning of one. */
export function filterSandboxes(
  sandboxes: readonly Sandbox[],
  filter: PodSandboxFilter | undefined,
): Sandbox[] {
  if (filter === undefined) return [...sandboxes];
  const { id, state, labelSelector } = filter;
  return sandboxes.filter(
    (sandbox) =>
      (id === '' || sandbox.id.startsWith(id)) &&
      (state === undefined || state.state === sandboxStateOf(sandbox)) &&
      hasLabels(sandbox.config.labels, labelSelector),
  );
}

/** The containers that match a filter. */
export function filterContainers(
  containers: readonly Container[],
  filter: Partial<ContainerFilter> | undefined,
): Container[] {
  if (filter === undefined) return [...containers];
  const { id = '', podSandboxId = '', state, labelSelector = new Map() } = filter;
  return containers.filter(
    (container) =>
      (id === '' || container.id.startsWith(id)) &&
      (podSandboxId === '' || container.state.sandboxId.startsWith(podSandboxId)) &&
      (state === undefined || state.state === container.phase) &&
      hasLabels(container.config.labels, labelSelector),
  );
}
