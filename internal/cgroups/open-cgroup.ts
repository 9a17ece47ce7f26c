import { type CgroupFiles, kernelCgroupFiles } from './cgroup-files.ts';
import { type CgroupHost, detectCgroupHost } from './cgroup-host.ts';
import type { CgroupManager, CgroupOptions } from './cgroup-manager.ts';
import { cgroupDirectories } from './cgroup-path.ts';
import { V1CgroupManager } from './v1-manager.ts';
import { V2CgroupManager } from './v2-manager.ts';

/**
 * The cgroup that a container with these options gets on this machine; nothing is made yet.
 *
 * Throws FailedPrecondition if no cgroup file system is mounted or the path is one for systemd,
 * InvalidArgument if it is the root.
 */
export function locateCgroup(
  options: CgroupOptions,
  host: CgroupHost = detectCgroupHost(),
  files: CgroupFiles = kernelCgroupFiles,
): CgroupManager {
  const paths = cgroupDirectories(host, options);
  // A path that was asked for must be had; the runtime's own choice is not worth a failure.
  const isTolerant = options.rootless === true && !options.cgroupsPath;
  return host.layout === 'unified'
    ? new V2CgroupManager({ directory: paths[''], files, isTolerant })
    : new V1CgroupManager({ paths, files, isTolerant });
}

/** The cgroup with these `paths`, as {@link CgroupManager.paths} told when it was made. */
export function openCgroup(
  paths: Readonly<Record<string, string>>,
  files: CgroupFiles = kernelCgroupFiles,
): CgroupManager {
  const isUnified = Object.keys(paths).every((controller) => controller === '');
  return isUnified
    ? new V2CgroupManager({ directory: paths[''], files, isTolerant: false })
    : new V1CgroupManager({ paths, files, isTolerant: false });
}

/**
 * The cgroup with these `paths`, of which systemd has made those that it manages. `holder` keeps them and may be inside.
 * What `undoCreate` of another takes away stays here, for systemd to end; `isTolerant` as with {@link locateCgroup}.
 */
export function adoptCgroup(
  paths: Readonly<Record<string, string>>,
  { holder, isTolerant }: { readonly holder: number; readonly isTolerant: boolean },
  files: CgroupFiles = kernelCgroupFiles,
): CgroupManager {
  const isUnified = Object.keys(paths).every((controller) => controller === '');
  return isUnified
    ? new V2CgroupManager({ directory: paths[''], files, isTolerant, holder })
    : new V1CgroupManager({ paths, files, isTolerant, holder });
}
