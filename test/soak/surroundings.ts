// What operations on containers could leave behind on a machine and in a shim.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { traces } from '../demo/workspace.ts';
import type { PlayedDaemon, Shim } from '../fixtures/shim.ts';

export interface Surroundings {
  readonly processes: number;
  readonly mounts: readonly string[];
  readonly cgroups: readonly string[];
  /** Of the daemon's directory: bundles, states of runtimes, logs. */
  readonly files: readonly string[];
  readonly shims: readonly ShimSurroundings[];
}

interface ShimSurroundings {
  readonly children: number;
  /** What descriptors lead to, without numbers of pipes and sockets. */
  readonly fds: readonly string[];
  readonly mounts: number;
}

/** Everything that carries the daemon's directory in its name, and what its shims hold. */
export function surroundingsOf(daemon: PlayedDaemon, shims: readonly Shim[]): Surroundings {
  const { processes, mounts, cgroups } = traces(daemon.directory);
  return {
    processes: processes.length,
    mounts,
    cgroups,
    files: (readdirSync(daemon.directory, { recursive: true }) as string[]).sort(),
    shims: shims.map(({ pid }) => ofShim(pid, daemon.directory)),
  };
}

function ofShim(pid: number, directory: string): ShimSurroundings {
  const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) => {
    return readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8').split(' ').filter(Boolean);
  });
  const fds = readdirSync(`/proc/${pid}/fd`).map((fd) => targetOf(`/proc/${pid}/fd/${fd}`));
  const mountinfo = readFileSync(`/proc/${pid}/mountinfo`, 'utf8');
  // Other programs on the machine mount and unmount, too: only what shims mount for bundles counts.
  const own = mountinfo.split('\n').filter((line) => line.includes(`${directory}/`));
  return { children: children.length, fds: fds.sort(), mounts: own.length };
}

function targetOf(link: string): string {
  try {
    return readlinkSync(link).replace(/:\[\d+\]/, '');
  } catch {
    return 'closed meanwhile';
  }
}
