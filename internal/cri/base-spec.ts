import { readFileSync } from 'node:fs';
import { TsError } from '../errors/index.ts';
import { type Mount, parseSpec, type Spec } from '../oci/index.ts';

/** Types of the mounts that every container has; those of a base spec take their places. */
const DEFAULT_TYPES: ReadonlySet<string> = new Set([
  'proc',
  'sysfs',
  'tmpfs',
  'devpts',
  'mqueue',
  'cgroup',
]);

/** Reads the file of `base_runtime_spec`. Throws InvalidArgument by the property that is wrong. */
export function readBaseSpec(path: string): Spec {
  let text: Buffer;
  try {
    text = readFileSync(path);
  } catch (thrown) {
    throw TsError.from(thrown, `base_runtime_spec ${path}`);
  }
  return parseSpec(text, `base_runtime_spec ${path}`);
}

/**
 * A container's spec on top of the one that the administrator has chosen for its runtime, as containerd starts from it
 * instead of its defaults: what a request does not speak of stays, such as hooks, limits of the process and options of
 * /dev; what it speaks of replaces it.
 */
export function withBaseSpec(base: Spec, spec: Spec): Spec {
  const baseMounts = base.mounts ?? [];
  const mounts = spec.mounts ?? [];
  const ofBase = (mount: Mount): Mount =>
    DEFAULT_TYPES.has(mount.type ?? '')
      ? (baseMounts.find(({ destination }) => destination === mount.destination) ?? mount)
      : mount;
  const isNew = (mount: Mount): boolean =>
    !mounts.some(({ destination }) => destination === mount.destination);
  return {
    ...base,
    ...spec,
    process: {
      ...base.process,
      ...spec.process,
      env: mergedEnv(base.process.env ?? [], spec.process.env ?? []),
    },
    mounts: [...mounts.map(ofBase), ...baseMounts.filter(isNew)],
    annotations: { ...base.annotations, ...spec.annotations },
    linux: {
      ...base.linux,
      ...spec.linux,
      devices: [...(base.linux?.devices ?? []), ...(spec.linux?.devices ?? [])],
      resources: { ...base.linux?.resources, ...spec.linux?.resources },
      sysctl: { ...base.linux?.sysctl, ...spec.linux?.sysctl },
    },
  };
}

function mergedEnv(base: readonly string[], own: readonly string[]): string[] {
  const nameOf = (entry: string): string => entry.split('=', 1)[0] ?? entry;
  const names = new Set(own.map(nameOf));
  return [...base.filter((entry) => !names.has(nameOf(entry))), ...own];
}
