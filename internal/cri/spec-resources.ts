import type { LinuxContainerResources } from '../api/generated/runtime.v1.ts';
import type { LinuxResources } from '../oci/index.ts';

/** What of the machine decides how limits are written. */
export interface ResourceHost {
  /** Whether memory.memsw or memory.swap is there. */
  readonly hasSwapController: boolean;
  readonly hasHugetlbController: boolean;
}

/**
 * CRI's resources in the words of the OCI: zero and empty mean "as it is". Without a limit of its
 * own for swap a container with a memory limit gets none, so that it does not swap instead of
 * meeting its limit.
 */
export function linuxResources(
  resources: LinuxContainerResources,
  host: ResourceHost,
): LinuxResources {
  const { cpuPeriod, cpuQuota, cpuShares, cpusetCpus, cpusetMems } = resources;
  const cpu = {
    ...(cpuShares === 0n ? {} : { shares: cpuShares }),
    ...(cpuQuota === 0n ? {} : { quota: cpuQuota }),
    ...(cpuPeriod === 0n ? {} : { period: cpuPeriod }),
    ...(cpusetCpus === '' ? {} : { cpus: cpusetCpus }),
    ...(cpusetMems === '' ? {} : { mems: cpusetMems }),
  };
  const { memoryLimitInBytes: limit, memorySwapLimitInBytes: swapLimit } = resources;
  const swap = swapLimit === 0n ? limit : swapLimit;
  const memory = {
    ...(limit === 0n ? {} : { limit }),
    ...(swap === 0n || !host.hasSwapController ? {} : { swap }),
  };
  const hugepageLimits = host.hasHugetlbController
    ? resources.hugepageLimits.map(({ pageSize, limit: bytes }) => ({ pageSize, limit: bytes }))
    : [];
  return {
    ...(Object.keys(cpu).length === 0 ? {} : { cpu }),
    ...(Object.keys(memory).length === 0 ? {} : { memory }),
    ...(hugepageLimits.length === 0 ? {} : { hugepageLimits }),
    ...(resources.unified.size === 0 ? {} : { unified: Object.fromEntries(resources.unified) }),
  };
}

/** The score of a process for the OOM killer; `floor` is the least that the daemon may set, if it is limited. */
export function oomScoreAdj(wanted: number, floor: number | undefined): number {
  return floor === undefined ? wanted : Math.max(wanted, floor);
}
