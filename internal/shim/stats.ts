import { type AnyMessage, packAny } from '../api/any.ts';
import type { CgroupStatistics } from '../cgroups/index.ts';

/** Statistics as containerd's metrics message of the kernel's cgroup version. */
export async function encodeStats(statistics: CgroupStatistics): Promise<AnyMessage> {
  // Loaded at the first request: most pods are never asked.
  if (statistics.version === 1) {
    const { Metrics } = await import('../api/generated/io.containerd.cgroups.v1.ts');
    return packAny(Metrics, statistics);
  }
  const { Metrics } = await import('../api/generated/io.containerd.cgroups.v2.ts');
  return packAny(Metrics, statistics);
}
