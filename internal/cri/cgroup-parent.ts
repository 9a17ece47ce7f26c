import { posix } from 'node:path';
import { TsError } from '../errors/index.ts';

/**
 * `cgroupsPath` of a pod's or container's spec. A parent that is a slice means the systemd driver, any other
 * cgroupfs; without a parent the container gets a place of its own.
 *
 * Throws FailedPrecondition when the kubelet's driver is not the one that the runtime uses: the runtime's
 * own error would speak of a malformed path only.
 */
export function cgroupsPath(
  parent: string,
  id: string,
  runtime: { readonly name: string; readonly isSystemd: boolean },
): string {
  if (parent === '') return runtime.isSystemd ? `:cri-containerd:${id}` : `/k8s.io/${id}`;
  const slice = posix.basename(parent);
  const isSlice = slice.endsWith('.slice');
  if (isSlice !== runtime.isSystemd) {
    const [theirs, ours] = isSlice ? ['systemd', 'cgroupfs'] : ['cgroupfs', 'systemd'];
    throw new TsError(
      'FailedPrecondition',
      `cgroup parent "${parent}" is of the ${theirs} driver, but runtime "${runtime.name}" uses the ${ours} driver`,
      {
        code: 'TS_CGROUP_DRIVER_MISMATCH',
        advice: `set SystemdCgroup = ${isSlice} in the options of runtime "${runtime.name}", or cgroupDriver: ${ours} in the kubelet's configuration`,
      },
    );
  }
  return isSlice ? `${slice}:cri-containerd:${id}` : posix.join('/', parent, id);
}
