import {
  type CgroupHost,
  type CgroupManager,
  detectCgroupHost,
  locateCgroup,
} from '../cgroups/index.ts';
import type { Spec } from '../oci/index.ts';
import { isRootless, type RuntimeOptions } from './runtime-options.ts';

/** Where the cgroupfs driver puts the cgroup of a new container; nothing is made. */
export function cgroupOf(
  options: RuntimeOptions,
  id: string,
  spec: Spec,
  host: CgroupHost = detectCgroupHost(),
): CgroupManager {
  const cgroupsPath = spec.linux?.cgroupsPath;
  return locateCgroup(
    {
      id,
      rootless: isRootless(options, process.geteuid?.() ?? 0),
      ...(cgroupsPath === undefined ? {} : { cgroupsPath }),
    },
    host,
  );
}
