/** Annotations that the CRI puts into each OCI spec, where shims and other programs look for them (containerd's names). */
import type { PodSandboxConfig } from '../api/generated/runtime.v1.ts';
import type { RuntimeHandlerConfig } from './cri-config.ts';

const PREFIX = 'io.kubernetes.cri';

export const Annotation = {
  containerType: `${PREFIX}.container-type`,
  sandboxId: `${PREFIX}.sandbox-id`,
  sandboxNamespace: `${PREFIX}.sandbox-namespace`,
  sandboxName: `${PREFIX}.sandbox-name`,
  sandboxUid: `${PREFIX}.sandbox-uid`,
  sandboxLogDirectory: `${PREFIX}.sandbox-log-directory`,
  sandboxImage: `${PREFIX}.sandbox-image-name`,
  sandboxCpuPeriod: `${PREFIX}.sandbox-cpu-period`,
  sandboxCpuQuota: `${PREFIX}.sandbox-cpu-quota`,
  sandboxCpuShares: `${PREFIX}.sandbox-cpu-shares`,
  sandboxMemory: `${PREFIX}.sandbox-memory`,
  containerName: `${PREFIX}.container-name`,
  imageName: `${PREFIX}.image-name`,
} as const;

/** What every spec of a pod says of it. */
export function podAnnotations(
  type: 'sandbox' | 'container',
  sandboxId: string,
  config: PodSandboxConfig,
): Record<string, string> {
  const { namespace = '', name = '', uid = '' } = config.metadata ?? {};
  return {
    [Annotation.containerType]: type,
    [Annotation.sandboxId]: sandboxId,
    [Annotation.sandboxNamespace]: namespace,
    [Annotation.sandboxName]: name,
    [Annotation.sandboxUid]: uid,
  };
}

/**
 * The annotations of a pod or container that its runtime may see: those that a glob of the runtime's
 * configuration names. All others are Kubernetes' own business, and a runtime that acts on
 * annotations must not be steered by whoever may write them (CRI-O CVE-2023-6476, CVE-2024-3154).
 */
export function passedAnnotations(
  patterns: readonly string[],
  annotations: ReadonlyMap<string, string>,
): Record<string, string> {
  const matchers = patterns.map(globMatcher);
  const passed = [...annotations].filter(([key]) => matchers.some((matches) => matches(key)));
  return Object.fromEntries(passed);
}

/** As Go's path.Match: `*` and `?` do not match a slash. */
function globMatcher(pattern: string): (text: string) => boolean {
  const source = pattern
    .replace(/[.+^${}()|\\]/g, '\\$&')
    .replace(/[*?]/g, (wild) => (wild === '*' ? '[^/]*' : '[^/]'));
  const expression = new RegExp(`^${source}$`);
  return (text) => expression.test(text);
}

export function runtimeAnnotations(
  runtime: RuntimeHandlerConfig,
  pod: ReadonlyMap<string, string>,
  container: ReadonlyMap<string, string> = new Map(),
): Record<string, string> {
  return {
    ...passedAnnotations(runtime.podAnnotations, pod),
    ...passedAnnotations(runtime.containerAnnotations, container),
  };
}
