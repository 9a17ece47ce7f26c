import { existsSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { detectCgroupHost } from '../cgroups/index.ts';
import { Capability } from '../linux/constants/capability.ts';
import { hasApparmor } from './spec-security.ts';

/** What of this machine the specs depend on. */
export interface CriHost {
  readonly hostname: string;
  readonly hasSwapController: boolean;
  readonly hasHugetlbController: boolean;
  readonly hasApparmor: boolean;
  /** Capabilities of the daemon, which a privileged container gets. */
  readonly capabilities: readonly string[];
  /** The daemon's own oom_score_adj. */
  readonly oomScoreAdj: number;
  readonly cgroupVersion: 1 | 2;
  /** Directories where hierarchies of cgroups are mounted. */
  readonly cgroupMounts: readonly string[];
}

/** Looks at the machine, once, at the daemon's start. */
export function detectCriHost(): CriHost {
  const { version, controllers, mounts } = cgroups();
  return {
    hostname: hostname(),
    hasSwapController:
      version === 2
        ? existsSync('/proc/swaps')
        : existsSync('/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes'),
    hasHugetlbController: controllers.has('hugetlb'),
    hasApparmor: hasApparmor(),
    capabilities: ownCapabilities(),
    oomScoreAdj: Number(readFileSync('/proc/self/oom_score_adj', 'utf8')),
    cgroupVersion: version,
    cgroupMounts: mounts,
  };
}

function cgroups(): { version: 1 | 2; controllers: ReadonlySet<string>; mounts: string[] } {
  const { layout, hierarchies } = detectCgroupHost();
  const mounts = hierarchies.map(({ mountPoint }) => mountPoint);
  if (layout !== 'unified') {
    const controllers = new Set(hierarchies.flatMap((one) => one.controllers));
    return { version: 1, controllers, mounts };
  }
  const file = `${hierarchies[0]?.mountPoint}/cgroup.controllers`;
  const controllers = new Set(readFileSync(file, 'utf8').trim().split(' '));
  return { version: 2, controllers, mounts };
}

function ownCapabilities(): string[] {
  const bits = BigInt(
    `0x${/^CapEff:\s*(\w+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'}`,
  );
  return Object.entries(Capability)
    .filter(([, number]) => (bits >> BigInt(number)) & 1n)
    .map(([name]) => name);
}
