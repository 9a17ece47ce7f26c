import { existsSync } from 'node:fs';
import { posix } from 'node:path';
import { TsError } from '../errors/index.ts';

/** Where a kubelet puts its pods, by its cgroup driver (kubelet's `cgroupRoot` aside). */
const TREES = [
  { driver: 'systemd', name: 'kubepods.slice' },
  { driver: 'cgroupfs', name: 'kubepods' },
] as const;

/**
 * What to tell at the daemon's start when a kubelet has made its cgroups by another driver than the default runtime's:
 * each of its pods will be refused. `hierarchies` are the directories where cgroups are mounted. Undefined when nothing
 * contradicts, and when there are both trees: a kubelet that was switched leaves the old one until the machine starts anew.
 * It is no reason not to serve: such a kubelet makes its new tree once the daemon does.
 */
export function driverContradiction(
  hierarchies: readonly string[],
  runtime: { readonly name: string; readonly isSystemd: boolean },
): TsError | undefined {
  const found = TREES.flatMap(({ driver, name }) => {
    const path = hierarchies.map((each) => posix.join(each, name)).find((each) => existsSync(each));
    return path === undefined ? [] : [{ driver, path }];
  });
  const [tree, other] = found;
  const ours = runtime.isSystemd ? 'systemd' : 'cgroupfs';
  if (tree === undefined || other !== undefined || tree.driver === ours) return undefined;
  return new TsError(
    'FailedPrecondition',
    `${tree.path} is of a kubelet with the ${tree.driver} driver, but runtime "${runtime.name}" uses the ${ours} driver`,
    {
      code: 'TS_CGROUP_DRIVER_MISMATCH',
      advice: `set SystemdCgroup = ${!runtime.isSystemd} in the options of runtime "${runtime.name}" in the daemon's configuration file, or cgroupDriver: ${ours} in the kubelet's, /var/lib/kubelet/config.yaml`,
      fields: { path: tree.path },
    },
  );
}
