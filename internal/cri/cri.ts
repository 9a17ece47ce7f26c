import { join } from 'node:path';
import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import type { Logger } from '../log/index.ts';
import { endAbandonedCheckpoints } from './checkpoint.ts';
import type { Container } from './container.ts';
import { ContainerEvents, EVENT_TYPES } from './container-events.ts';
import { Containers } from './containers.ts';
import type { CriConfig } from './cri-config.ts';
import { type CriHost, detectCriHost } from './cri-host.ts';
import { CriImages, type DescribeImage } from './cri-images.ts';
import { KIND_LABEL } from './cri-records.ts';
import { CriuLogs } from './criu-logs.ts';
import type { DaemonServices } from './daemon-services.ts';
import { KeyedLock } from './keyed-lock.ts';
import { driverContradiction } from './kubelet-tree.ts';
import { PodNetworks } from './pod-network.ts';
import { isSystemdCgroup } from './runtime-options.ts';
import type { Sandbox } from './sandbox.ts';
import { Sandboxes } from './sandboxes.ts';
import { detectSelinux } from './selinux-host.ts';
import { SelinuxAllocator } from './selinux-labels.ts';
import { containerStatus, sandboxStatus } from './status-messages.ts';
import { TaskEvents } from './task-events.ts';

/** Everything that the CRI is made of. */
export class Cri {
  readonly settings: CriConfig;
  readonly host: CriHost;
  readonly services: DaemonServices;
  readonly log: Logger;
  readonly images: CriImages;
  readonly networks: PodNetworks;
  readonly sandboxes: Sandboxes;
  readonly containers: Containers;
  readonly criuLogs: CriuLogs;
  /** Checkpoints of one container are made one after the other: it is paused meanwhile. */
  readonly checkpoints = new KeyedLock();
  readonly events = new ContainerEvents();
  readonly #taskEvents = new TaskEvents();
  readonly #ending = new AbortController();

  constructor(
    settings: CriConfig,
    services: DaemonServices,
    describeImage: DescribeImage,
    log: Logger,
  ) {
    this.settings = settings;
    this.services = services;
    this.log = log;
    this.host = detectCriHost();
    this.criuLogs = new CriuLogs(join(settings.rootDir, 'criu'));
    this.images = new CriImages(services, settings, describeImage);
    this.networks = new PodNetworks(
      settings.cni,
      join(settings.rootDir, 'networks'),
      log,
      undefined,
      settings.netnsUnderStateDir ? join(settings.stateDir, 'netns') : undefined,
    );
    const { host, images, networks } = this;
    const contexts = settings.enablesSelinux ? detectSelinux() : undefined;
    if (settings.enablesSelinux && contexts === undefined) {
      log.warn('enable_selinux: this machine has no SELinux, nothing is labelled');
    }
    const selinux = new SelinuxAllocator(contexts, settings.selinuxCategoryRange);
    this.sandboxes = new Sandboxes({
      ...{ services, settings, host, images, networks, selinux },
      onExit: (sandbox) => this.#tell(sandbox.id, sandbox, 'stopped'),
    });
    const { sandboxes, criuLogs } = this;
    this.containers = new Containers({
      ...{ services, settings, host, images, selinux, sandboxes, criuLogs },
      onChange: (container, what) => this.#changed(container, what),
      exitEvent: (id) => this.#taskEvents.exit(id),
    });
  }

  /** Takes up the pods and containers of an earlier daemon. One bad record does not keep the daemon from the others. */
  async start(): Promise<void> {
    this.#lookAtKubelet();
    const onOom = (id: string): void => {
      const container = this.containers.find(id);
      if (container !== undefined) container.isOomKilled = true;
    };
    this.#taskEvents
      .follow(this.services, this.log, onOom, this.#ending.signal)
      .catch((thrown: unknown) => this.log.error({ error: thrown }, 'events of tasks'));
    const { containers: records } = await this.services.containers.list({
      filters: [`labels."${KIND_LABEL}"`],
    });
    const ofKind = (kind: string) =>
      records.filter(({ labels }) => labels.get(KIND_LABEL) === kind);
    for (const [kind, restore] of [
      ['sandbox', (record) => this.sandboxes.restore(record)],
      ['container', (record) => this.containers.restore(record)],
    ] as const satisfies [string, (record: (typeof records)[number]) => Promise<void>][]) {
      const results = await Promise.allSettled(ofKind(kind).map(restore));
      for (const result of results) {
        if (result.status === 'rejected') {
          this.log.error({ error: result.reason as unknown }, `take up a ${kind} again`);
        }
      }
    }
    for (const end of [
      () => endAbandonedCheckpoints(this),
      () => this.containers.removeOrphans(),
    ]) {
      try {
        await end();
      } catch (thrown) {
        this.log.error({ error: thrown }, 'remove what is left of checkpoints');
      }
    }
    // Before the first call is served, so that no pod that is being made is taken for one that is gone.
    const orphans = await this.networks.withoutPod(ofKind('sandbox').map(({ id }) => id));
    const ready = this.sandboxes.list().filter(({ isReady }) => isReady);
    // Neither throws, and a kubelet need not wait for plugins.
    void Promise.all([
      ...orphans.map((id) => this.networks.release(id)),
      ...ready.map((pod) => this.checkNetwork(pod)),
    ]);
  }

  #lookAtKubelet(): void {
    const { runtimes, defaultRuntime: name } = this.settings;
    const runtime = runtimes.get(name);
    if (runtime === undefined) return;
    const isSystemd = isSystemdCgroup(runtime);
    const error = driverContradiction(this.host.cgroupMounts, { name, isSystemd });
    if (error !== undefined) this.log.warn({ error }, 'pods of this kubelet will be refused');
  }

  /** What the plugins find wrong with a pod's network; '' for nothing. */
  async checkNetwork({ id }: Sandbox): Promise<string> {
    try {
      await this.networks.check(id);
      return '';
    } catch (thrown) {
      this.log.warn({ error: thrown, pod: id }, 'network of a pod');
      return TsError.from(thrown).text;
    }
  }

  /** Stops to follow events; pods go on. */
  async close(): Promise<void> {
    this.#ending.abort();
    this.networks.close();
  }

  /** Stops a pod with all its containers. */
  async stopSandbox(id: string): Promise<void> {
    await this.sandboxes.stop(id, async (sandbox) => {
      await Promise.all(
        this.containers.of(sandbox).map((container) => this.containers.stop(container.id, 0)),
      );
    });
  }

  /** Removes a pod with all its containers. */
  async removeSandbox(id: string): Promise<void> {
    const sandbox = await this.sandboxes.remove(id, async (pod) => {
      await Promise.all(
        this.containers.of(pod).map((container) => this.containers.remove(container.id)),
      );
    });
    if (sandbox !== undefined) this.#tell(sandbox.id, undefined, 'deleted');
  }

  #changed(container: Container, what: keyof typeof EVENT_TYPES): void {
    this.#tell(container.id, this.sandboxes.find(container.state.sandboxId), what);
  }

  /** An event with the whole pod as it is now, so that a kubelet need not ask again. */
  #tell(containerId: string, sandbox: Sandbox | undefined, what: keyof typeof EVENT_TYPES): void {
    this.events.publish({
      containerId,
      containerEventType: EVENT_TYPES[what],
      createdAt: nowNs(),
      podSandboxStatus: sandbox === undefined ? undefined : sandboxStatus(sandbox),
      containersStatuses:
        sandbox === undefined ? [] : this.containers.of(sandbox).map(containerStatus),
    });
  }

  /** A pod that has just become ready. */
  tellReady(sandbox: Sandbox): void {
    this.#tell(sandbox.id, sandbox, 'created');
    this.#tell(sandbox.id, sandbox, 'started');
  }
}

/** What a method of the CRI throws that is not there. */
export function notSupported(method: string, why: string): TsError {
  return new TsError('NotImplemented', `${method}: ${why}`);
}
