// One thing: a pod's life, each step of which must know what the others leave behind when they fail.
import { mkdirSync } from 'node:fs';
import type { AnyMessage } from '../api/any.ts';
import type { Container as ContainerMessage } from '../api/generated/containerd.services.containers.v1.ts';
import type { Mount } from '../api/generated/containerd.types.ts';
import { NamespaceMode, type PodSandboxConfig } from '../api/generated/runtime.v1.ts';
import type { Init } from '../api/init.ts';
import { nowNs } from '../api/time.ts';
import { TsError } from '../errors/index.ts';
import { filesOf } from '../rootfs/layered-files.ts';
import { cgroupsPath } from './cgroup-parent.ts';
import type { CriConfig, RuntimeHandlerConfig } from './cri-config.ts';
import type { CriHost } from './cri-host.ts';
import type { CriImages } from './cri-images.ts';
import {
  encodeState,
  readSandbox,
  recordLabels,
  type SandboxState,
  STATE_EXTENSION,
  sandboxExtensions,
  specAny,
} from './cri-records.ts';
import type { DaemonServices } from './daemon-services.ts';
import { IdIndex, NameRegistry, newId } from './identifiers.ts';
import { resolveIdentity } from './image-user.ts';
import { KeyedLock } from './keyed-lock.ts';
import { BUILTIN_PAUSE, pauseRootfs } from './pause-rootfs.ts';
import type { PodNetworks } from './pod-network.ts';
import { isSystemdCgroup, packRuntimeOptions } from './runtime-options.ts';
import { checkMetadata, Sandbox, sandboxName } from './sandbox.ts';
import { SandboxFiles } from './sandbox-files.ts';
import { sandboxSpec } from './sandbox-spec.ts';
import type { SelinuxAllocator } from './selinux-labels.ts';
import { hasUserNamespace, snapshotLabels } from './spec-namespaces.ts';
import type { ImageProcess } from './spec-process.ts';
import { ignoreEnded, Undo, unlessGone } from './undo.ts';

const SIGKILL = 9;

export interface SandboxesOptions {
  readonly services: DaemonServices;
  readonly settings: CriConfig;
  readonly host: CriHost;
  readonly images: CriImages;
  readonly networks: PodNetworks;
  readonly selinux: SelinuxAllocator;
  /** Told when a pod's pause process has ended. */
  readonly onExit: (sandbox: Sandbox) => void;
}

interface PauseRoot {
  readonly image: ImageProcess;
  readonly imageName: string;
  readonly mounts: readonly Init<Mount>[];
  readonly snapshotKey: string;
}

/** The pods: how they begin and end. */
export class Sandboxes {
  readonly #options: SandboxesOptions;
  readonly #index = new IdIndex<Sandbox>('sandbox');
  readonly #names = new NameRegistry('sandbox');
  readonly #lock = new KeyedLock();

  constructor(options: SandboxesOptions) {
    this.#options = options;
  }

  get(id: string): Sandbox {
    return this.#index.get(id);
  }

  find(id: string): Sandbox | undefined {
    return this.#index.find(id);
  }

  list(): Sandbox[] {
    return this.#index.values();
  }

  /** The runtime of a RuntimeClass; '' is the default one. Throws InvalidArgument naming those that there are. */
  runtime(handler: string): { name: string; runtime: RuntimeHandlerConfig } {
    const { runtimes, defaultRuntime } = this.#options.settings;
    const name = handler === '' ? defaultRuntime : handler;
    const runtime = runtimes.get(name);
    if (runtime !== undefined) return { name, runtime };
    throw new TsError('InvalidArgument', `no runtime for "${name}" is configured`, {
      code: 'TS_RUNTIME_HANDLER',
      advice: `use one of ${[...runtimes.keys()].join(', ')}, or add the handler of the RuntimeClass to the configuration`,
    });
  }

  /** Makes a pod and returns it when it is ready. Nothing is left of one that fails. */
  async run(config: PodSandboxConfig, handler: string, signal: AbortSignal): Promise<Sandbox> {
    checkMetadata(config);
    this.runtime(handler);
    const id = newId();
    const name = sandboxName(config);
    this.#names.reserve(name, id);
    const undo = new Undo();
    undo.add(async () => this.#names.release(name, id));
    try {
      const sandbox = await this.#create(id, config, handler, undo, signal);
      this.#index.set(id, sandbox);
      this.#watch(sandbox);
      return sandbox;
    } catch (thrown) {
      throw (await undo.after(thrown)).within(`run pod sandbox ${name}`);
    }
  }

  async #create(
    id: string,
    config: PodSandboxConfig,
    handler: string,
    undo: Undo,
    signal: AbortSignal,
  ): Promise<Sandbox> {
    const { services, settings, host, networks, selinux } = this.#options;
    const { name: runtimeName, runtime } = this.runtime(handler);
    // A kubelet with the other cgroup driver is told so before anything is made.
    cgroupsPath(config.linux?.cgroupParent ?? '', id, {
      name: runtimeName,
      isSystemd: isSystemdCgroup(runtime),
    });
    const security = config.linux?.securityContext;
    const labels = selinux.pod(security?.selinuxOptions);
    undo.add(async () => selinux.release(labels.process));
    const options = security?.namespaceOptions;
    const isHostNetwork = options?.network === NamespaceMode.NODE;
    const isHostIpc = options?.ipc === NamespaceMode.NODE;
    if (config.logDirectory !== '')
      mkdirSync(config.logDirectory, { recursive: true, mode: 0o755 });
    const netns = isHostNetwork ? '' : networks.newNamespacePath();
    const root = await this.#pauseRoot(id, runtime, signal);
    const state: SandboxState = {
      name: sandboxName(config),
      runtime: runtimeName,
      handler,
      phase: 'creating',
      createdAt: nowNs(),
      netns,
      ips: [],
      image: root.imageName,
      processLabel: labels.process,
    };
    const sandbox = new Sandbox(id, config, state);
    const files = new SandboxFiles(settings, id);
    const hostname = config.hostname === '' ? host.hostname : config.hostname;
    const paths = files.paths(isHostIpc);
    // First the record: from now on a crash leaves a note of what there is to clean up.
    undo.add(() => unlessGone(services.containers.delete({ id })));
    await services.containers.create({
      container: this.#record(sandbox, runtime, root, undefined),
    });
    undo.add(async () => files.remove());
    files.create(config, hostname, isHostIpc);
    const isUserns = hasUserNamespace(options);
    if (netns !== '') {
      undo.add(async () => networks.removeNamespace(netns));
      if (!isUserns) networks.createNamespace(netns);
    }
    const mounts = await this.#prepare(id, config, runtime, root, undo);
    const identity = resolveIdentity(
      {
        runAsUser: config.linux?.securityContext?.runAsUser,
        runAsUsername: '',
        runAsGroup: config.linux?.securityContext?.runAsGroup,
        supplementalGroups: config.linux?.securityContext?.supplementalGroups ?? [],
        supplementalGroupsPolicy: config.linux?.securityContext?.supplementalGroupsPolicy ?? 0,
      },
      root.image.user,
      filesOf(mounts),
    );
    const spec = sandboxSpec(
      {
        id,
        config,
        runtimeName,
        runtime,
        isSystemdCgroup: isSystemdCgroup(runtime),
        networkNamespace: netns,
        hostname,
        image: root.image,
        imageName: root.imageName,
        identity,
        resolvConf: paths.resolvConf,
        shm: paths.shm,
        selinux: {
          mount: labels.mount,
          process: selinux.applied(labels.process, {
            isPrivileged: security?.privileged === true,
            runtimeType: runtime.type,
          }),
        },
      },
      settings,
      host,
    );
    await services.containers.update({
      container: this.#record(sandbox, runtime, root, specAny(spec)),
      updateMask: { paths: ['spec'] },
    });
    // The network and the process do not need each other: what takes long runs at the same time.
    const started = this.#startTask(sandbox, mounts, undo, signal);
    const attached =
      isUserns && netns !== ''
        ? started.then((pid) => {
            networks.bindNamespace(netns, pid);
            return this.#attach(sandbox, undo, signal);
          })
        : this.#attach(sandbox, undo, signal);
    const [network, pid] = await Promise.allSettled([attached, started]);
    if (network.status === 'rejected') throw network.reason;
    if (pid.status === 'rejected') throw pid.reason;
    sandbox.pid = pid.value;
    await this.#save(sandbox, { phase: 'ready', ips: network.value });
    return sandbox;
  }

  async #attach(sandbox: Sandbox, undo: Undo, signal: AbortSignal): Promise<readonly string[]> {
    const { networks } = this.#options;
    const { id, config, state } = sandbox;
    if (state.netns === '') return [];
    undo.add(() => networks.detach(id));
    const { runtime } = this.runtime(state.handler);
    return (await networks.attach(id, config, state.netns, signal, runtime.networks)).ips;
  }

  async #startTask(
    { id }: Sandbox,
    rootfs: readonly Init<Mount>[],
    undo: Undo,
    signal: AbortSignal,
  ): Promise<number> {
    const { tasks } = this.#options.services;
    const { pid } = await tasks.create({ containerId: id, rootfs }, { signal });
    undo.add(() => this.#endTask(id));
    await tasks.start({ containerId: id });
    return pid;
  }

  /** The root of the pause process: that of the configured image, or of the built-in one. */
  async #pauseRoot(
    id: string,
    runtime: RuntimeHandlerConfig,
    signal: AbortSignal,
  ): Promise<PauseRoot> {
    const { settings, images } = this.#options;
    const builtin = (): PauseRoot => ({
      image: BUILTIN_PAUSE,
      imageName: '',
      mounts: [{ type: 'bind', source: pauseRootfs(settings.rootDir), options: ['rbind', 'ro'] }],
      snapshotKey: '',
    });
    if (settings.sandboxImage === '') return builtin();
    try {
      const image =
        (await images.find(settings.sandboxImage)) ??
        (await images.pull(settings.sandboxImage, undefined, signal, runtime.snapshotter));
      return {
        image: image.process,
        imageName: settings.sandboxImage,
        mounts: [],
        snapshotKey: id,
      };
    } catch (thrown) {
      if (settings.fallsBackToBuiltinPause) return builtin();
      throw TsError.from(thrown).within(`sandbox image "${settings.sandboxImage}"`);
    }
  }

  async #prepare(
    id: string,
    config: PodSandboxConfig,
    runtime: RuntimeHandlerConfig,
    root: PauseRoot,
    undo: Undo,
  ): Promise<readonly Init<Mount>[]> {
    if (root.snapshotKey === '') return root.mounts;
    const { services, settings, images } = this.#options;
    const snapshotter = runtime.snapshotter || settings.snapshotter;
    const { chainId } = await images.get(root.imageName);
    undo.add(() => unlessGone(services.snapshots.remove({ snapshotter, key: id })));
    const labels = snapshotLabels(config.linux?.securityContext?.namespaceOptions, snapshotter);
    const request = { snapshotter, key: id, parent: chainId, labels };
    return (await services.snapshots.prepare(request)).mounts;
  }

  #record(
    sandbox: Sandbox,
    runtime: RuntimeHandlerConfig,
    root: PauseRoot,
    spec: AnyMessage | undefined,
  ): Init<ContainerMessage> {
    const { id, config, state } = sandbox;
    return {
      id,
      labels: recordLabels(config.labels, 'sandbox'),
      image: root.imageName,
      runtime: { name: runtime.type, options: packRuntimeOptions(runtime) },
      spec,
      snapshotter:
        root.snapshotKey === '' ? '' : runtime.snapshotter || this.#options.settings.snapshotter,
      snapshotKey: root.snapshotKey,
      extensions: sandboxExtensions(config, state),
    };
  }

  async #save(sandbox: Sandbox, change: Partial<SandboxState>): Promise<void> {
    sandbox.state = { ...sandbox.state, ...change };
    await this.#options.services.containers.update({
      container: { id: sandbox.id, extensions: [[STATE_EXTENSION, encodeState(sandbox.state)]] },
      updateMask: { paths: [`extensions.${STATE_EXTENSION}`] },
    });
  }

  /** Notices the end of the pause process, however it comes. */
  #watch(sandbox: Sandbox): void {
    const { services, onExit } = this.#options;
    const ended = (): void => {
      sandbox.pid = 0;
      onExit(sandbox);
    };
    services.tasks.wait({ containerId: sandbox.id }).then(ended, ended);
  }

  /** Ends the containers and the pause process, and gives the network back then. Repeating it is harmless. */
  async stop(id: string, stopContainers: (sandbox: Sandbox) => Promise<void>): Promise<void> {
    await this.#end(id, (sandbox) => this.#stop(sandbox, () => stopContainers(sandbox)));
  }

  /**
   * Ends a pod, in whatever way, when no other call does, and returns it; undefined for one that is not there, or not any
   * more then.
   */
  async #end(id: string, end: (sandbox: Sandbox) => Promise<void>): Promise<Sandbox | undefined> {
    const sandbox = this.#index.find(id);
    if (sandbox === undefined) return undefined;
    return await this.#lock.run(sandbox.id, async () => {
      if (this.#index.find(sandbox.id) === undefined) return undefined;
      await ending(sandbox, () => end(sandbox));
      return sandbox;
    });
  }

  /**
   * A plugin that does not give the network back fails the first stop only: the kubelet has heard of it then, the pod
   * need not stay for it, and the attachment is written down and tried again. The pause process need not outlive the
   * containers, which are killed: what a runtime takes to kill and to delete passes once for all of them.
   */
  async #stop(sandbox: Sandbox, stopContainers?: () => Promise<void>): Promise<void> {
    const { settings, networks } = this.#options;
    const { id, state } = sandbox;
    for (const end of await Promise.allSettled([stopContainers?.(), this.#endTask(id)])) {
      if (end.status === 'rejected') throw end.reason;
    }
    sandbox.pid = 0;
    new SandboxFiles(settings, id).unmount();
    if (state.netns === '') {
      if (state.phase !== 'stopped') await this.#save(sandbox, { phase: 'stopped' });
      return;
    }
    try {
      await networks.detach(id);
    } catch (thrown) {
      if (state.phase === 'ready') {
        await this.#save(sandbox, { phase: 'stopped' });
        throw TsError.from(thrown).within(`stop pod sandbox ${state.name}`);
      }
    }
    networks.removeNamespace(state.netns);
    await this.#save(sandbox, { phase: 'stopped', netns: '' });
  }

  async #endTask(id: string): Promise<void> {
    const { tasks } = this.#options.services;
    await unlessGone(
      tasks.kill({ containerId: id, signal: SIGKILL, all: true }).catch(ignoreEnded),
    );
    await unlessGone(tasks.wait({ containerId: id }));
    await unlessGone(tasks.delete({ containerId: id }));
  }

  /** Removes a pod that is stopped, or stops it first, and returns it; undefined when there is none, which is success. */
  async remove(
    id: string,
    removeContainers: (sandbox: Sandbox) => Promise<void>,
  ): Promise<Sandbox | undefined> {
    return await this.#end(id, async (sandbox) => {
      await removeContainers(sandbox);
      await this.#stop(sandbox);
      await this.#forget(sandbox.id);
      this.#index.delete(sandbox.id);
      this.#names.release(sandbox.state.name, sandbox.id);
      this.#options.selinux.release(sandbox.state.processLabel ?? '');
    });
  }

  async #forget(id: string): Promise<void> {
    const { services, settings } = this.#options;
    const { container } = await services.containers.get({ id });
    if (container !== undefined && container.snapshotKey !== '') {
      const { snapshotter, snapshotKey: key } = container;
      await unlessGone(services.snapshots.remove({ snapshotter, key }));
    }
    new SandboxFiles(settings, id).remove();
    await unlessGone(services.containers.delete({ id }));
  }

  /**
   * Takes up a pod of an earlier daemon. One that was on its way is cleaned up instead: nobody was told of it. Returns
   * what is wrong with the record, if anything.
   */
  async restore(record: ContainerMessage): Promise<void> {
    const { config, state } = readSandbox(record);
    const sandbox = new Sandbox(record.id, config, state);
    if (state.phase === 'creating') {
      await this.#stop(sandbox);
      await this.#forget(sandbox.id);
      return;
    }
    this.#names.reserve(state.name, sandbox.id);
    this.#options.selinux.reserve(state.processLabel ?? '');
    this.#index.set(sandbox.id, sandbox);
    if (state.phase !== 'ready') return;
    try {
      const { process } = await this.#options.services.tasks.get({ containerId: sandbox.id });
      sandbox.pid = process?.pid ?? 0;
      this.#watch(sandbox);
    } catch (thrown) {
      if (TsError.from(thrown).kind !== 'NotFound') throw thrown;
      // Its shim has died, or the machine was started anew: the kubelet will stop it.
    }
  }
}

/** Ends a pod, which takes no containers from now on, unless that fails. */
async function ending(sandbox: Sandbox, end: () => Promise<void>): Promise<void> {
  sandbox.isEnding = true;
  try {
    await end();
  } finally {
    sandbox.isEnding = false; // it has another phase, or nobody finds it, or it is as it was
  }
}
