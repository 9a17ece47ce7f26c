/** `restore`: makes a container go on from where `checkpoint` wrote it down. */
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type Options, RequestType } from '../api/generated/criu.ts';
import { containerDeviceRules, type ScopeName } from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import {
  mount,
  type Operation,
  type OwnedFd,
  readMountInfo,
  sendFds,
  setChildSubreaper,
  unmountAll,
} from '../linux/index.ts';
import type { State } from '../oci/index.ts';
import type { Groups } from './birth.ts';
import { type Bundle, loadBundle } from './bundle.ts';
import { createContainer } from './cgroup-driver.ts';
import { DESCRIPTORS_FILE, EXTERNAL_NAMESPACES, externalNamespaceKey } from './checkpoint.ts';
import { OwnChild } from './child.ts';
import { cgroupOf } from './container-cgroup.ts';
import { CONFIG_COPY, writeContainerState } from './container-state.ts';
import { type CreateRequest, openConsole } from './create.ts';
import { criuError } from './criu-log.ts';
import { CriuProcess, type OnNotification, requireVersion } from './criu-process.ts';
import { type CriuRequest, commonOptions, openDirectories } from './criu-request.ts';
import { checkRestored, type ExternalPlan, planExternals } from './external-plan.ts';
import { runHooks } from './hooks.ts';
import { makeIntelRdt, planIntelRdt } from './intel-rdt.ts';
import { planNamespaces } from './namespace-plan.ts';
import { newContainerState } from './new-container-state.ts';
import { writePidFile } from './pid-file.ts';
import type { Stdio } from './process-steps.ts';
import { makeMountPoints } from './restore-mount-points.ts';
import { bringLoopbackUp } from './restored-network.ts';
import { setLostOptions } from './restored-options.ts';
import { Rollback } from './rollback.ts';
import { attend } from './run.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import {
  CRIU_ROOT,
  makeStateDirectory,
  removeStateDirectory,
  statePath,
} from './state-directory.ts';
import { refuseUnsupported } from './unsupported.ts';

export interface RestoreRequest extends CriuRequest {
  /** Absolute path of the bundle. */
  readonly bundle: string;
  readonly consoleSocket?: string;
  readonly pidFile?: string;
  readonly detach?: boolean;
  readonly noSubreaper?: boolean;
  /** What restored processes find as the stdio that they had; by default that of this process. */
  readonly stdio?: Stdio;
  /** TYPE:NAME of another profile than the one that the processes had. */
  readonly lsmProfile?: string;
  /** SELinux context of restored file systems. */
  readonly lsmMountContext?: string;
  /** Called when the processes go on. */
  readonly onStarted?: () => void;
}

const LOG_FILE = 'restore.log';
const OWN_STDIO: Stdio = [0, 1, 2];

/** Returns the exit code of the container's process, or 0 when detached. */
export async function restoreContainer(
  options: RuntimeOptions,
  request: RestoreRequest,
): Promise<number> {
  const bundle = loadBundle(request.bundle);
  if (request.detach === true) {
    await make(options, request, bundle, undefined);
    return 0;
  }
  if (request.noSubreaper !== true) setChildSubreaper(true);
  const ownsTerminal = request.consoleSocket === undefined && bundle.process.terminal === true;
  return attend(options, request.id, {
    ownsTerminal,
    keeps: false,
    make: (consoleFd) => make(options, request, bundle, consoleFd),
    begin: () => request.onStarted?.(),
  });
}

/** As {@link restoreContainer} detached; returns the pid. */
export async function restoreDetached(
  options: RuntimeOptions,
  request: RestoreRequest,
): Promise<number> {
  const detached = { ...request, detach: true };
  return make(options, detached, loadBundle(request.bundle), undefined);
}

function make(
  options: RuntimeOptions,
  request: RestoreRequest,
  bundle: Bundle,
  consoleFd: number | undefined,
): Promise<number> {
  return createContainer(options, request, bundle, (_options, { scope }) =>
    restore(options, request, bundle, consoleFd, scope),
  );
}

/** Returns the pid. Whatever fails, nothing is left behind but CRIU's log. */
function* restore(
  options: RuntimeOptions,
  request: RestoreRequest,
  bundle: Bundle,
  consoleFd: number | undefined,
  scope: CreateRequest['scope'],
): Operation<number> {
  refuseUnsupported(bundle.spec);
  const resctrl = planIntelRdt(options, request.id, bundle.spec);
  yield* requireVersion();
  return yield* Rollback.run('restore container', function* (rollback) {
    const isForeground = request.detach !== true;
    const consoleRequest = {
      ...request,
      isForeground,
      ...(consoleFd === undefined ? {} : { consoleFd }),
    };
    const console = openConsole(consoleRequest, bundle, rollback);
    const directories = openDirectories(request, LOG_FILE, rollback, { makesImages: false });
    const directory = makeStateDirectory(options.root, request.id);
    rollback.onFailure(() => removeStateDirectory(options.root, request.id));
    const cgroup = scope?.cgroup ?? cgroupOf(options, request.id, bundle.spec);
    const resources = bundle.spec.linux?.resources ?? {};
    yield* cgroup.create({ ...resources, devices: containerDeviceRules(resources.devices) });
    rollback.onFailure(() => cgroup.undoCreate());
    rollback.onFailure(() => cgroup.kill()); // what a CRIU that was stopped has left half made
    makeIntelRdt(resctrl, bundle.spec, rollback);
    writeFileSync(statePath(options.root, request.id, CONFIG_COPY), bundle.config, { mode: 0o600 });
    const plan = planExternals(bundle, cgroup);
    makeMountPoints(bundle.rootfs, plan.mounts, bundle.spec.linux?.rootfsPropagation);
    const root = bindRoot(bundle.rootfs, directory, rollback);
    const namespaces = openNamespaces(bundle, rollback);
    const { lsmProfile = '', lsmMountContext = '' } = request;
    const opts: Partial<Options> = {
      ...commonOptions(request, bundle.spec),
      ...directories.options,
      root,
      evasiveDevices: true,
      rstSibling: true,
      lsmProfile,
      lsmMountContext,
      extMnt: plan.externals.map(({ name, source }) => ({ key: name, val: source })),
      inheritFd: [...namespaces.inherited, ...pipes(directories.images)],
      joinNs: [...namespaces.joined],
    };
    const restoration = new Restoration(
      options,
      request,
      bundle,
      { cgroup, resctrl },
      plan,
      console,
      scope?.name,
    );
    return yield* restoration.run(opts, { logPath: directories.logPath, namespaces, rollback });
  });
}

/**
 * CRIU wants a root that is a mount, and nothing mounted above it. A slave: what CRIU mounts below stays off the host, and
 * where the container's root was a slave of the host's file system CRIU finds a mount to copy that from.
 */
function bindRoot(rootfs: string, directory: string, rollback: Rollback): string {
  const root = join(realpathSync(directory), CRIU_ROOT);
  mkdirSync(root, { mode: 0o700 });
  rollback.always(() => rmdirSync(root));
  mount({ source: rootfs, target: root, flags: ['MS_BIND', 'MS_REC'] });
  rollback.always(() => unmountAll(root));
  mount({ source: '', target: root, flags: ['MS_SLAVE', 'MS_REC'] });
  return root;
}

/** The time that CRIU takes. */
class Restoration {
  readonly #options: RuntimeOptions;
  readonly #request: RestoreRequest;
  readonly #bundle: Bundle;
  readonly #groups: Groups;
  readonly #plan: ExternalPlan;
  readonly #console: number | undefined;
  readonly #scope: ScopeName | undefined;
  #init: OwnChild | undefined;

  constructor(
    options: RuntimeOptions,
    request: RestoreRequest,
    bundle: Bundle,
    groups: Groups,
    plan: ExternalPlan,
    console: number | undefined,
    scope: ScopeName | undefined,
  ) {
    this.#options = options;
    this.#request = request;
    this.#bundle = bundle;
    this.#groups = groups;
    this.#plan = plan;
    this.#console = console;
    this.#scope = scope;
  }

  *run(
    opts: Partial<Options>,
    context: {
      readonly logPath: string;
      readonly namespaces: Namespaces;
      readonly rollback: Rollback;
    },
  ): Operation<number> {
    const { logPath, namespaces, rollback } = context;
    const { id } = this.#request;
    rollback.onFailure(() => this.#init?.end());
    const options = {
      stdio: this.#request.stdio ?? OWN_STDIO,
      inherited: namespaces.inherited.map(({ fd }) => fd),
    };
    const { cgroup, resctrl } = this.#groups;
    const notified: OnNotification = (...told) => this.#notified(...told, rollback);
    const exitCode = yield* CriuProcess.use(options, function* (criu) {
      // Restored processes are born in the groups that CRIU is in.
      yield* cgroup.join(criu.pid);
      resctrl?.join(criu.pid);
      const cgRoot = cgroupRoots(criu.pid);
      const request = { type: RequestType.RESTORE, opts: { ...opts, cgRoot } };
      const answer = yield* criu.request(request, notified);
      if (!('success' in answer)) throw criuError(`restore ${id}`, answer, logPath);
      return yield* criu.finish();
    });
    if (exitCode !== 0) {
      throw criuError(`restore ${id}`, { errno: 0, text: `exit code ${exitCode}` }, logPath);
    }
    return this.#init?.pid ?? 0;
  }

  *#notified(
    script: string,
    pid: number,
    fds: readonly OwnedFd[],
    rollback: Rollback,
  ): Operation<void> {
    this.#options.debug(`criu: ${script}`);
    switch (script) {
      case 'setup-namespaces':
        yield* this.#setUpNamespaces(pid);
        return;
      case 'orphan-pts-master':
        this.#sendTerminal(fds);
        return;
      case 'post-restore':
        this.#init = yield* OwnChild.adopt(pid);
        this.#restored(pid, rollback);
        return;
      default:
    }
  }

  *#setUpNamespaces(pid: number): Operation<void> {
    const { hooks, linux = {} } = this.#bundle.spec;
    if (planNamespaces(linux.namespaces ?? []).cloned.includes('network')) {
      yield* bringLoopbackUp(pid);
    }
    const state = this.#specState(pid);
    yield* runHooks(hooks?.prestart, 'prestart', state);
    yield* runHooks(hooks?.createRuntime, 'createRuntime', state);
  }

  #specState(pid: number): State {
    const { spec, directory } = this.#bundle;
    return {
      ociVersion: spec.ociVersion,
      id: this.#request.id,
      status: 'creating',
      pid,
      bundle: directory,
      ...(spec.annotations === undefined ? {} : { annotations: spec.annotations }),
    };
  }

  #sendTerminal(fds: readonly OwnedFd[]): void {
    const [master] = fds;
    if (master === undefined) return;
    if (this.#console === undefined) {
      throw new TsError(
        'InvalidArgument',
        'the images have a terminal, process.terminal is false',
        {
          advice: 'restore with the config.json of the checkpoint',
        },
      );
    }
    sendFds(this.#console, Buffer.from('/dev/ptmx'), [master.number]);
  }

  /** The processes are there, and none of them runs yet. */
  #restored(pid: number, rollback: Rollback): void {
    const { spec } = this.#bundle;
    setLostOptions(pid, this.#plan.externals, readMountInfo(pid));
    checkRestored(pid, this.#plan);
    const state = newContainerState({
      options: this.#options,
      id: this.#request.id,
      pid,
      bundle: this.#bundle,
      cgroup: this.#groups.cgroup,
      resctrl: this.#groups.resctrl?.paths,
      cgroupScope: this.#scope,
      sharesPidNamespace: !planNamespaces(spec.linux?.namespaces ?? []).cloned.includes('pid'),
      stdio: this.#request.stdio ?? OWN_STDIO,
      startLabels: {},
    });
    writeContainerState(this.#options.root, state);
    const { pidFile } = this.#request;
    if (pidFile !== undefined) writePidFile(pidFile, pid, rollback);
  }
}

interface Namespaces {
  readonly inherited: readonly { readonly key: string; readonly fd: number }[];
  readonly joined: readonly { readonly ns: string; readonly nsFile: string }[];
}

/** CRIU's names of namespaces, by those of the specification. */
const JOINED_NAMESPACES: ReadonlyMap<string, string> = new Map([
  ['ipc', 'ipc'],
  ['uts', 'uts'],
  ['user', 'user'],
  ['time', 'time'],
  ['mount', 'mnt'],
]);

/** Namespaces that config.json names by path. */
function openNamespaces({ spec }: Bundle, rollback: Rollback): Namespaces {
  const inherited: { key: string; fd: number }[] = [];
  const joined: { ns: string; nsFile: string }[] = [];
  for (const { type, path = '' } of spec.linux?.namespaces ?? []) {
    if (path === '') continue;
    const external = EXTERNAL_NAMESPACES.get(type);
    const name = JOINED_NAMESPACES.get(type);
    if (external !== undefined) {
      const fd = openNamespace(type, path);
      rollback.always(() => closeSync(fd));
      inherited.push({ key: externalNamespaceKey(external), fd });
    } else if (name !== undefined) joined.push({ ns: name, nsFile: path });
    else {
      throw new TsError('NotImplemented', `CRIU cannot restore into the ${type} namespace ${path}`);
    }
  }
  return { inherited, joined };
}

function openNamespace(type: string, path: string): number {
  try {
    return openSync(path, 'r');
  } catch (thrown) {
    throw TsError.from(thrown, `open ${type} namespace ${path}`);
  }
}

/** The pipes that were stdio, with what takes their place now: CRIU's own. */
function pipes(images: string): { key: string; fd: number }[] {
  const path = join(images, DESCRIPTORS_FILE);
  let names: unknown;
  try {
    names = JSON.parse(readFileSync(path, 'utf8'));
  } catch (thrown) {
    throw TsError.from(thrown, `read ${path}`);
  }
  if (!Array.isArray(names)) throw new TsError('InvalidArgument', `${path}: is not a list`);
  return OWN_STDIO.flatMap((fd) => {
    const key: unknown = names[fd];
    return typeof key === 'string' && /^pipe:\[\d+\]$/.test(key) ? [{ key, fd }] : [];
  });
}

/**
 * Where CRIU puts the cgroups of the images: its own, which are the new container's. The root without a controller is that
 * of the v2 tree; without it a container restored under another id would live in the old one's cgroup, outside of its limits.
 */
function cgroupRoots(pid: number): { ctrl?: string; path: string }[] {
  const lines = readFileSync(`/proc/${pid}/cgroup`, 'utf8').trim().split('\n');
  return lines.map((line) => {
    const [, ctrl = '', ...path] = line.split(':');
    return { ...(ctrl === '' ? {} : { ctrl }), path: path.join(':') };
  });
}
