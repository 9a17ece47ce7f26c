import type { Metric as TaskMetric } from '../api/generated/containerd.types.ts';
import type {
  ContainerStats,
  ContainerStatsFilter,
  FilesystemUsage,
  LinuxPodSandboxStats,
  NetworkInterfaceUsage,
  PodSandboxStats,
  PodSandboxStatsFilter,
  PsiStats,
} from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import { nowNs } from '../api/time.ts';
import { locateCgroup } from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import {
  type CgroupFigures,
  figuresOfCgroup,
  figuresOfMetrics,
  type Pressure,
} from './cgroup-figures.ts';
import type { Container } from './container.ts';
import { CpuRates } from './cpu-rates.ts';
import type { Cri } from './cri.ts';
import { filterContainers, filterSandboxes } from './list-filters.ts';
import { type InterfaceCounters, networkCounters } from './network-counters.ts';
import type { Sandbox } from './sandbox.ts';
import { SnapshotUsages } from './snapshot-usage.ts';
import { hasEnded } from './while-running.ts';

/** The interface that a pod's network is known by. */
const DEFAULT_INTERFACE = 'eth0';
const UNLIMITED = 0n;

/** What pods and containers use, for kubelets that ask the CRI instead of cAdvisor. */
export class Statistics {
  readonly #cri: Cri;
  readonly #rates = new CpuRates();
  readonly #usages: SnapshotUsages;

  constructor(cri: Cri) {
    this.#cri = cri;
    this.#usages = new SnapshotUsages(cri.services.snapshots, cri.settings.statsCollectPeriodMs);
  }

  /** Throws NotFound. A container that does not run uses its files only. */
  async container(id: string): Promise<Init<ContainerStats>> {
    const container = this.#cri.containers.get(id);
    const figures = await this.figures([container.id]);
    return await this.#containerStats(container, figures.get(container.id));
  }

  /** Of all containers that match; of those that do not run, as of {@link container}. */
  async containers(filter: ContainerStatsFilter | undefined): Promise<Init<ContainerStats>[]> {
    const { containers } = this.#cri;
    const wanted = filterContainers(containers.list(), filter);
    const figures = await this.figures(wanted.filter(isRunning).map(({ id }) => id));
    this.#rates.keepOnly(new Set(this.#ids()));
    return await Promise.all(wanted.map((one) => this.#containerStats(one, figures.get(one.id))));
  }

  /** Throws NotFound, and Unavailable for a pod that is not ready. */
  async pod(id: string): Promise<Init<PodSandboxStats>> {
    const sandbox = this.#cri.sandboxes.get(id);
    if (!sandbox.isReady) {
      throw new TsError('Unavailable', `sandbox ${sandbox.id}: not ready`);
    }
    return await this.#podStats(sandbox);
  }

  /** Of all pods that match and are ready. */
  async pods(filter: PodSandboxStatsFilter | undefined): Promise<Init<PodSandboxStats>[]> {
    const { sandboxes } = this.#cri;
    const wanted = filter && { ...filter, state: undefined };
    const ready = filterSandboxes(sandboxes.list(), wanted).filter((one) => one.isReady);
    return await Promise.all(ready.map((sandbox) => this.#podStats(sandbox)));
  }

  /** What the shims say of tasks, by id; one that has ended has no figures. */
  async figures(ids: readonly string[]): Promise<Map<string, CgroupFigures>> {
    if (ids.length === 0) return new Map();
    const filters = ids.map((id) => `id==${id}`);
    const { metrics } = await this.#cri.services.tasks.metrics({ filters });
    return new Map(
      metrics.flatMap(({ id, data }: TaskMetric) => {
        const figures = figuresOfMetrics(data);
        return figures === undefined ? [] : [[id, figures] as const];
      }),
    );
  }

  /**
   * The processes of a container, its own first; none of one that has ended, nor of one in a virtual machine, whose numbers
   * mean nothing here.
   */
  async pids({ id, pid }: Container): Promise<readonly number[]> {
    const { tasks } = this.#cri.services;
    try {
      const { processes } = await tasks.listPids({ containerId: id });
      const pids = processes.map((process) => process.pid);
      return pids.includes(pid) ? [pid, ...pids.filter((one) => one !== pid)] : [];
    } catch (thrown) {
      if (await hasEnded(pid)) return [];
      throw thrown;
    }
  }

  /** What the writable layer of a container takes. */
  async writableLayer({ id, state }: Container): Promise<Init<FilesystemUsage>> {
    const usage = await this.#usages.get(state.snapshotter, id);
    return {
      timestamp: usage?.atNs ?? nowNs(),
      fsId: { mountpoint: this.#cri.services.snapshotterRoot(state.snapshotter) },
      usedBytes: { value: usage?.bytes ?? 0n },
      inodesUsed: { value: usage?.inodes ?? 0n },
    };
  }

  /** The interfaces of a pod; none for one on the host's network. */
  interfaces(sandbox: Sandbox): InterfaceCounters[] {
    return sandbox.state.netns === '' || sandbox.pid === 0 ? [] : networkCounters(sandbox.pid);
  }

  #ids(): string[] {
    const { containers, sandboxes } = this.#cri;
    return [...containers.list(), ...sandboxes.list()].map(({ id }) => id);
  }

  async #containerStats(
    container: Container,
    figures: CgroupFigures | undefined,
  ): Promise<Init<ContainerStats>> {
    const { id, config, state } = container;
    const { metadata, labels, annotations } = config;
    return {
      attributes: { id, metadata, labels, annotations },
      writableLayer: await this.writableLayer(container),
      ...(figures === undefined ? {} : this.#usage(id, figures, state.startedAt)),
    };
  }

  #usage(id: string, figures: CgroupFigures, startedNs: bigint) {
    const { cpu, memory } = figures;
    const timestamp = nowNs();
    const rate = cpu && this.#rates.rate(id, cpu.usageNs, timestamp, startedNs);
    return {
      cpu: cpu && {
        timestamp,
        usageCoreNanoSeconds: { value: cpu.usageNs },
        usageNanoCores: rate === undefined ? undefined : { value: rate },
        psi: psiStats(cpu.pressure),
      },
      memory: memory && {
        timestamp,
        workingSetBytes: { value: memory.workingSetBytes },
        availableBytes: { value: rest(memory.limitBytes, memory.workingSetBytes) },
        usageBytes: { value: memory.usageBytes },
        rssBytes: { value: memory.rssBytes },
        pageFaults: { value: memory.pageFaults },
        majorPageFaults: { value: memory.majorPageFaults },
        psi: psiStats(memory.pressure),
      },
      swap:
        memory?.swapBytes === undefined
          ? undefined
          : {
              timestamp,
              swapUsageBytes: { value: memory.swapBytes },
              swapAvailableBytes: { value: rest(memory.swapLimitBytes, memory.swapBytes) },
            },
      io: figures.ioPressure && { timestamp, psi: psiStats(figures.ioPressure) },
    };
  }

  async #podStats(sandbox: Sandbox): Promise<Init<PodSandboxStats>> {
    const { id, config, state } = sandbox;
    const { metadata, labels, annotations } = config;
    const containers = this.#cri.containers.of(sandbox);
    const figures = await this.figures([id, ...containers.filter(isRunning).map((one) => one.id)]);
    const stats = await Promise.all(
      containers.map((one) => this.#containerStats(one, figures.get(one.id))),
    );
    const own = this.#podFigures(sandbox) ?? figures.get(id);
    const timestamp = nowNs();
    const interfaces = this.interfaces(sandbox).map(interfaceUsage);
    const processes = [...figures.values()].reduce((sum, one) => sum + (one.processes ?? 0n), 0n);
    const { swap: _noField, ...usage } =
      own === undefined ? { swap: undefined } : this.#usage(id, own, state.createdAt);
    const linux: Init<LinuxPodSandboxStats> = {
      ...usage,
      network:
        state.netns === ''
          ? undefined
          : {
              timestamp,
              defaultInterface:
                interfaces.find(({ name }) => name === DEFAULT_INTERFACE) ?? interfaces[0],
              interfaces,
            },
      process: { timestamp, processCount: { value: processes } },
      containers: stats,
    };
    return { attributes: { id, metadata, labels, annotations }, linux };
  }

  /** Of the pod's own cgroup, in which all of it is; undefined without one. */
  #podFigures({ id, config }: Sandbox): CgroupFigures | undefined {
    const cgroupsPath = config.linux?.cgroupParent ?? '';
    if (cgroupsPath === '') return undefined;
    const cgroup = locateCgroup({ id, cgroupsPath });
    return cgroup.exists() ? figuresOfCgroup(cgroup.statistics()) : undefined;
  }
}

const isRunning = (container: Container): boolean => container.isRunning;

function rest(limit: bigint | undefined, used: bigint): bigint {
  if (limit === undefined) return UNLIMITED;
  return limit > used ? limit - used : 0n;
}

function interfaceUsage(counters: InterfaceCounters): Init<NetworkInterfaceUsage> {
  const { name, rxBytes, rxErrors, txBytes, txErrors } = counters;
  return {
    name,
    rxBytes: { value: rxBytes },
    rxErrors: { value: rxErrors },
    txBytes: { value: txBytes },
    txErrors: { value: txErrors },
  };
}

function psiStats(pressure: Pressure | undefined): Init<PsiStats> | undefined {
  const line = (one: Pressure['some']) =>
    one && { Total: one.total, Avg10: one.avg10, Avg60: one.avg60, Avg300: one.avg300 };
  return pressure && { Some: line(pressure.some), Full: line(pressure.full) };
}
