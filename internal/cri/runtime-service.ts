import { CgroupDriver, type RuntimeService } from '../api/generated/runtime.v1.ts';
import type { ServiceHandlers } from '../api/service.ts';
import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import { formatJson } from '../oci/index.ts';
import type { GrpcContext } from '../services/context.ts';
import type { StreamServer } from '../streaming/stream-server.ts';
import { checkpointContainer } from './checkpoint.ts';
import type { Container } from './container.ts';
import { type Cri, notSupported } from './cri.ts';
import { execSync } from './exec-sync.ts';
import { filterContainers, filterSandboxes } from './list-filters.ts';
import { metricDescriptors, podMetrics } from './pod-metrics.ts';
import { isSystemdCgroup } from './runtime-options.ts';
import { runtimeStatus } from './runtime-status.ts';
import type { Sandbox } from './sandbox.ts';
import { linuxResources } from './spec-resources.ts';
import { Statistics } from './statistics.ts';
import {
  containerMessage,
  containerStatus,
  sandboxMessage,
  sandboxStatus,
} from './status-messages.ts';
import { ignoreEnded } from './undo.ts';
import { requireRunning, whileRunning } from './while-running.ts';

const RESOURCES_TYPE = 'types.containerd.io/opencontainers/runtime-spec/1/LinuxResources';

/** What the service says of the program that it is part of. */
export interface Identity {
  readonly name: string;
  readonly version: string;
}

/** Where streams are served. */
export type StreamUrls = Pick<StreamServer, 'command' | 'portForward'>;

/** CRI's RuntimeService (cri-api runtime/v1). */
export function runtimeService(
  cri: Cri,
  identity: Identity,
  streams: StreamUrls,
): ServiceHandlers<typeof RuntimeService, GrpcContext> {
  const { sandboxes, containers, services, settings } = cri;
  const statistics = new Statistics(cri);
  return {
    async version() {
      return {
        version: '0.1.0',
        runtimeName: identity.name,
        runtimeVersion: identity.version,
        runtimeApiVersion: 'v1',
      };
    },
    status: async ({ verbose }) => runtimeStatus(cri, verbose),
    async runtimeConfig() {
      const { runtime } = sandboxes.runtime('');
      const cgroupDriver = isSystemdCgroup(runtime) ? CgroupDriver.SYSTEMD : CgroupDriver.CGROUPFS;
      return { linux: { cgroupDriver } };
    },
    async updateRuntimeConfig() {
      return {}; // the pod network's range is its CNI plugin's business
    },

    async runPodSandbox({ config, runtimeHandler }, { signal }) {
      const sandbox = await sandboxes.run(required(config, 'config'), runtimeHandler, signal);
      cri.tellReady(sandbox);
      return { podSandboxId: sandbox.id };
    },
    async stopPodSandbox({ podSandboxId }) {
      await cri.stopSandbox(podSandboxId);
      return {};
    },
    async removePodSandbox({ podSandboxId }) {
      await cri.removeSandbox(podSandboxId);
      return {};
    },
    async podSandboxStatus({ podSandboxId, verbose }) {
      const sandbox = sandboxes.get(podSandboxId);
      const info: [string, string][] = verbose
        ? [['info', formatJson(await verboseSandbox(cri, sandbox))]]
        : [];
      return {
        status: sandboxStatus(sandbox),
        info,
        containersStatuses: containers.of(sandbox).map(containerStatus),
        timestamp: nowNs(),
      };
    },
    async listPodSandbox({ filter }) {
      return { items: filterSandboxes(sandboxes.list(), filter).map(sandboxMessage) };
    },
    async *streamPodSandboxes({ filter }) {
      yield { podSandboxes: filterSandboxes(sandboxes.list(), filter).map(sandboxMessage) };
    },

    async createContainer({ podSandboxId, config }) {
      const container = await containers.create(
        sandboxes.get(podSandboxId),
        required(config, 'config'),
      );
      return { containerId: container.id };
    },
    async startContainer({ containerId }) {
      await containers.start(containerId);
      return {};
    },
    async stopContainer({ containerId, timeout }) {
      await containers.stop(containerId, Math.max(0, Number(timeout)) * 1000);
      return {};
    },
    async removeContainer({ containerId }) {
      await containers.remove(containerId);
      return {};
    },
    async listContainers({ filter }) {
      return { containers: filterContainers(containers.list(), filter).map(containerMessage) };
    },
    async *streamContainers({ filter }) {
      yield { containers: filterContainers(containers.list(), filter).map(containerMessage) };
    },
    async containerStatus({ containerId, verbose }) {
      const container = containers.get(containerId);
      const info: [string, string][] = verbose
        ? [['info', await verboseInfo(cri, container.id)]]
        : [];
      return { status: containerStatus(container), info };
    },
    async updateContainerResources({ containerId, linux }) {
      const container = containers.get(containerId);
      const wanted = required(linux, 'linux');
      const resources = linuxResources(
        settings.disablesHugetlbController ? { ...wanted, hugepageLimits: [] } : wanted,
        cri.host,
      );
      const update = {
        containerId: container.id,
        resources: { typeUrl: RESOURCES_TYPE, value: Buffer.from(formatJson(resources)) },
      };
      // One that ends meanwhile has limits as one that has ended before: on paper.
      await whileRunning(container, () => services.tasks.update(update)).catch(ignoreEnded);
      await containers.updateResources(container, wanted, resources);
      return {};
    },
    async reopenContainerLog({ containerId }) {
      const container = containers.get(containerId);
      await whileRunning(container, () => services.logs.reopen(container.id));
      return {};
    },

    async execSync({ containerId, cmd, timeout }) {
      const container = containers.get(containerId);
      const timeoutMs = Math.max(0, Number(timeout)) * 1000;
      return await execSync(services, settings, container, cmd, timeoutMs);
    },
    async exec(request) {
      const { id } = running(cri, request.containerId);
      if (request.cmd.length === 0) throw new TsError('InvalidArgument', 'cmd: empty');
      return { url: await streams.command('exec', { ...request, containerId: id }) };
    },
    async attach(request) {
      const { id } = running(cri, request.containerId);
      return { url: await streams.command('attach', { ...request, containerId: id, cmd: [] }) };
    },
    async portForward({ podSandboxId, port }) {
      const sandbox = sandboxes.get(podSandboxId);
      if (!sandbox.isReady) {
        throw new TsError('FailedPrecondition', `sandbox ${sandbox.id}: not ready`);
      }
      return { url: await streams.portForward(sandbox.id, port) };
    },

    async containerStats({ containerId }) {
      return { stats: await statistics.container(containerId) };
    },
    async listContainerStats({ filter }) {
      return { stats: await statistics.containers(filter) };
    },
    async *streamContainerStats({ filter }) {
      yield { containerStats: await statistics.containers(filter) };
    },
    async podSandboxStats({ podSandboxId }) {
      return { stats: await statistics.pod(podSandboxId) };
    },
    async listPodSandboxStats({ filter }) {
      return { stats: await statistics.pods(filter) };
    },
    async *streamPodSandboxStats({ filter }) {
      yield { podSandboxStats: await statistics.pods(filter) };
    },
    async listMetricDescriptors() {
      return { descriptors: metricDescriptors() };
    },
    async listPodSandboxMetrics() {
      return { podMetrics: await podMetrics(cri, statistics) };
    },
    async *streamPodSandboxMetrics() {
      yield { podSandboxMetrics: await podMetrics(cri, statistics) };
    },

    getContainerEvents: (_request, { signal }) => cri.events.subscribe(signal),

    async checkpointContainer({ containerId, location }) {
      const container = containers.get(containerId);
      await cri.checkpoints.run(container.id, () => checkpointContainer(cri, container, location));
      return {};
    },
    async checkpointPod() {
      throw notSupported('CheckpointPod', 'only single containers are checkpointed');
    },
    async restorePod() {
      throw notSupported('RestorePod', 'only single containers are restored');
    },
    async updatePodSandboxResources({ podSandboxId }) {
      sandboxes.get(podSandboxId); // the kubelet itself sets the pod's cgroup; the pause process has no limit
      return {};
    },
  };
}

function running(cri: Cri, id: string): Container {
  const container = cri.containers.get(id);
  requireRunning(container);
  return container;
}

/** A field without which a request means nothing. */
function required<T>(value: T | undefined, field: string): T {
  if (value !== undefined) return value;
  throw new TsError('InvalidArgument', `${field}: missing`);
}

/** With what the plugins of the pod's network say of it now (CHECK), which nobody else asks them. */
async function verboseSandbox(cri: Cri, sandbox: Sandbox): Promise<Record<string, unknown>> {
  const networkProblem = sandbox.isReady ? await cri.checkNetwork(sandbox) : '';
  return { pid: sandbox.pid, ...sandbox.state, networkProblem };
}

async function verboseInfo({ containers, services }: Cri, id: string): Promise<string> {
  const container = containers.get(id);
  const { container: record } = await services.containers.get({ id });
  const spec: unknown =
    record?.spec === undefined ? null : JSON.parse(Buffer.from(record.spec.value).toString('utf8'));
  const { state, pid } = container;
  return formatJson({
    sandboxID: state.sandboxId,
    pid,
    removing: state.isRemoving,
    snapshotKey: record?.snapshotKey,
    snapshotter: record?.snapshotter,
    runtimeType: record?.runtime?.name,
    runtimeSpec: spec,
  });
}
