// One thing: a container's life, each step of which must know what the others leave behind when they fail.
import { packAny } from '../api/any.ts';
import type { Container as ContainerMessage } from '../api/generated/containerd.services.containers.v1.ts';
import type { WaitResponse } from '../api/generated/containerd.services.tasks.v1.ts';
import {
  ContainerConfig,
  LinuxContainerConfig,
  type LinuxContainerResources,
  NamespaceMode,
} from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import { nowNs, timestampToNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import { type LinuxResources, parseSpec } from '../oci/index.ts';
import { filesOf, layersOf } from '../rootfs/layered-files.ts';
import type { Checkpoint } from './checkpoint-archive.ts';
import { Container, containerName } from './container.ts';
import { endsWithin } from './container-end.ts';
import { openStreams, removeStreams } from './container-io.ts';
import { ContainerRestore, isArchive } from './container-restore.ts';
import { containerSpec } from './container-spec.ts';
import { newContainerState } from './container-state.ts';
import { ContainerVolumes } from './container-volumes.ts';
import type { CriConfig } from './cri-config.ts';
import type { CriHost } from './cri-host.ts';
import type { CriImage, CriImages } from './cri-images.ts';
import {
  CONFIG_EXTENSION,
  type ContainerState,
  containerExtensions,
  encodeState,
  readContainer,
  recordLabels,
  STATE_EXTENSION,
  specAny,
} from './cri-records.ts';
import type { CriuLogs } from './criu-logs.ts';
import type { DaemonServices } from './daemon-services.ts';
import { IdIndex, NameRegistry, newId } from './identifiers.ts';
import { resolveIdentity } from './image-user.ts';
import { KeyedLock } from './keyed-lock.ts';
import { isSystemdCgroup, packRuntimeOptions } from './runtime-options.ts';
import type { Sandbox } from './sandbox.ts';
import { SandboxFiles } from './sandbox-files.ts';
import type { Sandboxes } from './sandboxes.ts';
import type { SelinuxAllocator } from './selinux-labels.ts';
import { relabelAll } from './selinux-relabel.ts';
import { snapshotLabels, userMappings } from './spec-namespaces.ts';
import { signalNumber } from './stop-signal.ts';
import { ignoreEnded, Undo, unlessGone } from './undo.ts';

/** Exit code of a container whose process could not be started (Docker's and containerd's number). */
const START_ERROR_EXIT_CODE = 128;
const UNKNOWN_EXIT_CODE = 255;
/** How long a killed process may take to end: it may wait for a disk. */
const KILL_TIMEOUT_MS = 10_000;

export interface ContainersOptions {
  readonly services: DaemonServices;
  readonly settings: CriConfig;
  readonly host: CriHost;
  readonly images: CriImages;
  readonly selinux: SelinuxAllocator;
  readonly sandboxes: Sandboxes;
  readonly criuLogs: CriuLogs;
  readonly onChange: (
    container: Container,
    what: 'created' | 'started' | 'stopped' | 'deleted',
  ) => void;
  /** Resolves when the event of a task's end has come, before which that of its OOM comes. */
  readonly exitEvent: (id: string) => Promise<void>;
}

/** The containers of pods: how they begin and end. */
export class Containers {
  readonly #options: ContainersOptions;
  readonly #index = new IdIndex<Container>('container');
  readonly #names = new NameRegistry('container');
  readonly #lock = new KeyedLock();

  readonly #volumes: ContainerVolumes;
  readonly #restore: ContainerRestore;

  constructor(options: ContainersOptions) {
    this.#options = options;
    this.#volumes = new ContainerVolumes(options.services, options.settings, options.images);
    this.#restore = new ContainerRestore(options.services, options.settings, options.criuLogs);
  }

  get(id: string): Container {
    return this.#index.get(id);
  }

  find(id: string): Container | undefined {
    return this.#index.find(id);
  }

  list(): Container[] {
    return this.#index.values();
  }

  of(sandbox: Sandbox): Container[] {
    return this.list().filter(({ state }) => state.sandboxId === sandbox.id);
  }

  /** Makes a container, without a process. Nothing is left of one that fails. */
  async create(sandbox: Sandbox, config: ContainerConfig): Promise<Container> {
    sandbox.requireReady();
    if ((config.metadata?.name ?? '') === '') {
      throw new TsError('InvalidArgument', 'config.metadata.name: missing');
    }
    const id = newId();
    const name = containerName(config, sandbox.state.name);
    this.#names.reserve(name, id);
    const undo = new Undo();
    undo.add(async () => this.#names.release(name, id));
    try {
      const container = await this.#create(id, name, sandbox, config, undo);
      sandbox.requireReady(); // whoever ends it has looked for its containers, and has not seen this one
      this.#index.set(id, container);
      this.#options.onChange(container, 'created');
      return container;
    } catch (thrown) {
      const error = sandbox.orEnded(await undo.after(thrown));
      throw error.within(`create container ${config.metadata?.name}`);
    }
  }

  async #create(
    id: string,
    name: string,
    sandbox: Sandbox,
    config: ContainerConfig,
    undo: Undo,
  ): Promise<Container> {
    const { services, settings, host, sandboxes, selinux } = this.#options;
    const { name: runtimeName, runtime } = sandboxes.runtime(sandbox.state.runtime);
    const given = config.image?.image ?? '';
    const snapshotter = runtime.snapshotter || settings.snapshotter;
    const { image, checkpoint } = await this.#imageOf(id, given, snapshotter, undo);
    const imageName = checkpoint === undefined ? given : (image.repoTags[0] ?? image.id);
    const security = config.linux?.securityContext;
    const selinuxLabels = selinux.container(
      security?.selinuxOptions,
      sandbox.state.processLabel ?? '',
    );
    undo.add(async () => selinux.release(selinuxLabels.process));
    const state = {
      ...newContainerState({
        ...{ name, sandbox, config, image, imageName, runtime: runtimeName, snapshotter },
      }),
      processLabel: selinuxLabels.process,
    };
    const container = new Container(id, config, state);
    undo.add(() => unlessGone(services.containers.delete({ id })));
    const record: Init<ContainerMessage> = {
      id,
      labels: recordLabels(config.labels, 'container'),
      image: state.image,
      runtime: { name: runtime.type, options: packRuntimeOptions(runtime) },
      snapshotter,
      snapshotKey: id,
      extensions: containerExtensions(config, state),
      sandbox: sandbox.id,
    };
    await services.containers.create({ container: record });
    undo.add(() => unlessGone(services.snapshots.remove({ snapshotter, key: id })));
    const labels = snapshotLabels(sandbox.namespaceOptions, snapshotter);
    const request = { snapshotter, key: id, parent: image.chainId, labels };
    const { mounts } = await services.snapshots.prepare(request);
    if (checkpoint !== undefined) await this.#restore.applyFiles(id, checkpoint, mounts);
    const identity = resolveIdentity(
      {
        runAsUser: security?.runAsUser,
        runAsUsername: security?.runAsUsername ?? '',
        runAsGroup: security?.runAsGroup,
        supplementalGroups: security?.supplementalGroups ?? [],
        supplementalGroupsPolicy: security?.supplementalGroupsPolicy ?? 0,
      },
      image.process.user,
      filesOf(mounts),
    );
    const podOptions = sandbox.namespaceOptions;
    const volumes = await this.#volumes.prepare(
      {
        ...{ id, config, image, snapshotter, layers: layersOf(mounts) },
        mappings: userMappings(podOptions),
      },
      undo,
    );
    const isHostIpc = podOptions?.ipc === NamespaceMode.NODE;
    const podFiles = new SandboxFiles(settings, sandbox.id).paths(isHostIpc);
    await relabelAll(
      selinuxLabels.mount,
      [podFiles.hostname, podFiles.hosts, podFiles.resolvConf, isHostIpc ? '' : podFiles.shm],
      config.mounts,
    );
    const spec = containerSpec(
      {
        id,
        config: { ...config, mounts: [...volumes.mounts] },
        sandboxId: sandbox.id,
        sandboxConfig: sandbox.config,
        runtimeName,
        runtime,
        isSystemdCgroup: isSystemdCgroup(runtime),
        namespaces: { pid: sandbox.pid, network: sandbox.state.netns, options: podOptions },
        targetPid: this.#targetPid(config),
        hostname: sandbox.config.hostname || host.hostname,
        podFiles,
        image: image.process,
        imageName: state.image,
        identity,
        imageVolumes: volumes.imageVolumes,
        selinux: {
          mount: selinuxLabels.mount,
          process: selinux.applied(selinuxLabels.process, {
            isPrivileged: security?.privileged === true,
            runtimeType: runtime.type,
          }),
        },
      },
      settings,
      host,
    );
    if (checkpoint !== undefined) {
      await this.#restore.check(checkpoint, spec);
      await this.#restore.continueLog(checkpoint, state.logPath);
    }
    await services.containers.update({
      container: { id, spec: specAny(spec) },
      updateMask: { paths: ['spec'] },
    });
    await this.#save(container, { user: identity.user });
    return container;
  }

  /** The image that is named, or that the checkpoint that is named belongs to. */
  async #imageOf(
    id: string,
    given: string,
    snapshotter: string,
    undo: Undo,
  ): Promise<{ image: CriImage; checkpoint: Checkpoint | undefined }> {
    const { images } = this.#options;
    const named = isArchive(given) ? undefined : await images.get(given);
    if (named?.isCheckpoint === false) return { image: named, checkpoint: undefined };
    const checkpoint =
      named === undefined
        ? await this.#restore.unpack(id, given, undo)
        : await this.#restore.unpackImage(id, named, snapshotter, undo);
    return { image: await images.get(checkpoint.image), checkpoint };
  }

  #targetPid(config: ContainerConfig): number | undefined {
    const options = config.linux?.securityContext?.namespaceOptions;
    if (options?.pid !== NamespaceMode.TARGET) return undefined;
    const target = this.get(options.targetId);
    return target.isRunning ? target.pid : undefined;
  }

  /** Starts the process of a container. A start that fails ends the container, with the error as its message. */
  async start(id: string): Promise<void> {
    const container = this.get(id);
    const sandbox = this.#options.sandboxes.get(container.state.sandboxId);
    if (container.phase !== 0 || container.starting !== undefined || container.state.isRemoving) {
      throw new TsError('FailedPrecondition', `container ${container.id}: not in created state`);
    }
    sandbox.requireReady();
    const starting = this.#startOrEnd(container, sandbox);
    container.starting = starting.then(
      () => true,
      () => false,
    );
    try {
      await starting;
    } finally {
      container.starting = undefined;
      await this.#restore.remove(container.id); // it has its memory, or never will
    }
  }

  async #startOrEnd(container: Container, sandbox: Sandbox): Promise<void> {
    try {
      await this.#start(container, sandbox);
      this.#options.onChange(container, 'started');
    } catch (thrown) {
      const error = sandbox.orEnded(thrown).within(`start container ${container.state.name}`);
      await this.#save(container, {
        startedAt: container.state.startedAt || nowNs(),
        finishedAt: nowNs(),
        exitCode: START_ERROR_EXIT_CODE,
        reason: 'StartError',
        message: error.text,
      });
      this.#options.onChange(container, 'stopped');
      throw error;
    }
  }

  async #start(container: Container, sandbox: Sandbox): Promise<void> {
    const { services, settings, sandboxes } = this.#options;
    const { id, state } = container;
    const { mounts } = await services.snapshots.mounts({ snapshotter: state.snapshotter, key: id });
    const streams = openStreams(container, sandbox, settings);
    const runtime = () => sandboxes.runtime(state.runtime).runtime;
    await this.#restore.start(id, runtime, async (options) => {
      const undo = new Undo();
      try {
        const task = { containerId: id, rootfs: mounts, ...streams, options };
        const { pid } = await services.tasks.create(task);
        undo.add(() => unlessGone(services.tasks.delete({ containerId: id })));
        container.pid = pid;
        this.#watch(container);
        const startedAt = nowNs();
        const started = await services.tasks.start({ containerId: id });
        if (container.pid === 0) container.pid = started.pid; // a restored process is not there before
        await this.#save(container, { startedAt });
      } catch (thrown) {
        container.pid = 0;
        throw await undo.after(thrown);
      }
    });
  }

  /** Notices the end of the process, and writes down how it came. */
  #watch(container: Container): void {
    const { tasks } = this.#options.services;
    container.ended = tasks
      .wait({ containerId: container.id })
      .catch((): undefined => undefined)
      .then((exit) => this.#end(container, exit));
    // What goes wrong in it is told by whoever waits for the end; a container that nobody stops has no such caller.
    container.ended.catch(() => undefined);
  }

  async #end(container: Container, exit: WaitResponse | undefined): Promise<void> {
    const { tasks } = this.#options.services;
    if (exit?.exitStatus === 137) await this.#options.exitEvent(container.id);
    container.pid = 0;
    const exitCode = exit?.exitStatus ?? UNKNOWN_EXIT_CODE;
    if ((await container.starting) === false) return; // the start failed, and says so
    await this.#save(container, {
      finishedAt: exit?.exitedAt === undefined ? nowNs() : timestampToNs(exit.exitedAt),
      exitCode,
      ...(container.isOomKilled ? { reason: 'OOMKilled' } : {}),
    });
    await unlessGone(tasks.delete({ containerId: container.id }));
    this.#options.onChange(container, 'stopped');
  }

  async #save(container: Container, change: Partial<ContainerState>): Promise<void> {
    container.state = { ...container.state, ...change };
    await this.#options.services.containers.update({
      container: {
        id: container.id,
        extensions: [[STATE_EXTENSION, encodeState(container.state)]],
      },
      updateMask: { paths: [`extensions.${STATE_EXTENSION}`] },
    });
  }

  /** Notes new limits, for the status, and in the spec of a container that is not started yet. */
  async updateResources(
    container: Container,
    wanted: LinuxContainerResources,
    resources: LinuxResources,
  ): Promise<void> {
    const { services } = this.#options;
    const { id, config } = container;
    config.linux = { ...(config.linux ?? LinuxContainerConfig.create()), resources: wanted };
    const { container: record } = await services.containers.get({ id });
    if (record?.spec === undefined) throw new TsError('NotFound', `spec of container ${id}`);
    const spec = parseSpec(record.spec.value, `spec of container ${id}`);
    const merged = { ...spec.linux?.resources, ...resources };
    await services.containers.update({
      container: {
        id,
        spec: specAny({ ...spec, linux: { ...spec.linux, resources: merged } }),
        extensions: [[CONFIG_EXTENSION, packAny(ContainerConfig, config)]],
      },
      updateMask: { paths: ['spec', `extensions.${CONFIG_EXTENSION}`] },
    });
  }

  /** Asks a container to end, and kills it when it has not within `timeoutMs`. One that has ended or is not there is success. */
  async stop(id: string, timeoutMs: number): Promise<void> {
    const container = this.#index.find(id);
    if (container === undefined) return;
    await this.#lock.run(container.id, () => this.#stop(container, timeoutMs));
  }

  async #stop(container: Container, timeoutMs: number): Promise<void> {
    if (container.pid === 0) await container.starting; // there is nothing to kill before
    if (container.pid === 0) return;
    if (timeoutMs > 0) {
      await this.#kill(container, container.state.stopSignal, false);
      if (await endsWithin(container, timeoutMs)) return;
    }
    container.isKilled = true;
    await this.#kill(container, 'SIGKILL', true);
    if (await endsWithin(container, KILL_TIMEOUT_MS)) return;
    throw new TsError(
      'DeadlineExceeded',
      `container ${container.id}: process ${container.pid} has not ended ${KILL_TIMEOUT_MS / 1000} s after SIGKILL`,
      {
        advice: `look into /proc/${container.pid}/stack: it waits in the kernel, most often for a file system`,
      },
    );
  }

  async #kill(container: Container, signal: string, all: boolean): Promise<void> {
    const { tasks } = this.#options.services;
    await tasks
      .kill({ containerId: container.id, signal: signalNumber(signal), all })
      .then(() => undefined, ignoreEnded);
  }

  /** Removes a container, killing it if it runs; one that is not there is success. */
  async remove(id: string): Promise<void> {
    const container = this.#index.find(id);
    if (container === undefined) return;
    await this.#lock.run(container.id, async () => {
      if (this.#index.find(container.id) === undefined) return; // another call has removed it meanwhile
      await this.#stop(container, 0);
      await container.ended;
      await container.starting; // what it leaves when it fails is removed, too
      await this.#save(container, { isRemoving: true });
      await this.#forget(container);
      this.#index.delete(container.id);
      this.#names.release(container.state.name, container.id);
      this.#options.selinux.release(container.state.processLabel ?? '');
      this.#options.onChange(container, 'deleted');
    });
  }

  async #forget({ id, state }: Container): Promise<void> {
    const { services, settings } = this.#options;
    await unlessGone(services.tasks.delete({ containerId: id }));
    await this.#volumes.remove(id, state.snapshotter);
    await this.#restore.remove(id);
    await unlessGone(services.snapshots.remove({ snapshotter: state.snapshotter, key: id }));
    removeStreams(settings, id);
    await unlessGone(services.containers.delete({ id }));
  }

  /** Removes what an earlier daemon left of containers that it has not noted down. To be called before the first is made. */
  async removeOrphans(): Promise<void> {
    await this.#restore.removeOrphans(new Set(this.list().map(({ id }) => id)));
  }

  /** Takes up a container of an earlier daemon, with what became of it meanwhile. */
  async restore(record: ContainerMessage): Promise<void> {
    const { config, state } = readContainer(record);
    const container = new Container(record.id, config, state);
    if (record.spec === undefined || state.isRemoving) {
      await this.#forget(container); // it was on its way, in or out
      return;
    }
    this.#names.reserve(state.name, container.id);
    this.#options.selinux.reserve(state.processLabel ?? '');
    this.#index.set(container.id, container);
    if (state.finishedAt !== 0n) return;
    try {
      const { process } = await this.#options.services.tasks.get({ containerId: container.id });
      container.pid = process?.pid ?? 0;
      if (state.startedAt === 0n) await this.#save(container, { startedAt: nowNs() });
      this.#watch(container);
    } catch (thrown) {
      if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
      if (state.startedAt === 0n) return; // was not started yet
      await this.#save(container, {
        finishedAt: nowNs(),
        exitCode: UNKNOWN_EXIT_CODE,
        reason: 'Unknown',
        message: 'its shim was gone when the daemon was started',
      });
    }
  }
}
