import { readlinkSync } from 'node:fs';
import type { CgroupManager, ResctrlPaths, ScopeName } from '../cgroups/index.ts';
import type { Bundle } from './bundle.ts';
import type { ContainerState } from './container-state.ts';
import { readProcessStat } from './process-stat.ts';
import type { Stdio } from './process-steps.ts';
import { isRootless, type RuntimeOptions } from './runtime-options.ts';

/** runc's names in state.json. */
const NAMESPACE_KEYS: Readonly<Record<string, string>> = {
  mnt: 'NEWNS',
  pid: 'NEWPID',
  net: 'NEWNET',
  uts: 'NEWUTS',
  ipc: 'NEWIPC',
  user: 'NEWUSER',
  cgroup: 'NEWCGROUP',
};

/** What is known of a container at its birth, be it made or restored. */
export interface NewContainer {
  readonly options: RuntimeOptions;
  readonly id: string;
  readonly pid: number;
  readonly bundle: Bundle;
  readonly cgroup: CgroupManager;
  /** The systemd unit that the cgroup is, if any. */
  readonly cgroupScope?: ScopeName | undefined;
  readonly resctrl?: ResctrlPaths | undefined;
  readonly sharesPidNamespace: boolean;
  readonly stdio: Stdio;
  readonly startLabels: Readonly<Record<string, string>>;
}

/** The state of a container whose process has just come to be. */
export function newContainerState(container: NewContainer): ContainerState {
  const { options, id, pid, bundle, cgroup, cgroupScope, resctrl } = container;
  const { sharesPidNamespace, stdio, startLabels } = container;
  const uid = process.geteuid?.() ?? 0;
  return {
    id,
    pid,
    startTime: readProcessStat(pid)?.startTime ?? 0,
    created: new Date().toISOString(),
    ociVersion: bundle.spec.ociVersion,
    bundle: bundle.directory,
    rootfs: bundle.rootfs,
    owner: uid,
    isRootless: isRootless(options, uid),
    sharesPidNamespace,
    annotations: bundle.spec.annotations ?? {},
    cgroupPaths: cgroup.paths,
    ...(cgroupScope === undefined ? {} : { cgroupScope }),
    ...(resctrl === undefined ? {} : { resctrl }),
    namespacePaths: Object.fromEntries(
      Object.entries(NAMESPACE_KEYS).map(([name, key]) => [key, `/proc/${pid}/ns/${name}`]),
    ),
    stdio: describeStdio(bundle, stdio),
    startLabels,
  };
}

/** `pipe:[1234]` and the like; with a terminal the process has none of the runtime's own. */
function describeStdio({ process }: Bundle, stdio: Stdio): string[] {
  return stdio.map((fd) => (process.terminal === true ? '/dev/null' : targetOf(fd)));
}

function targetOf(fd: number): string {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return '/dev/null'; // closed: nothing to find again
  }
}
