/** `create`: from a bundle to a process that waits for `start`. */
import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import {
  type CgroupHost,
  type CgroupManager,
  containerDeviceRules,
  detectCgroupHost,
  locateCgroup,
} from '../cgroups/index.ts';
import { TsError } from '../errors/index.ts';
import {
  connectUnix,
  kill,
  lockExclusively,
  makeFifo,
  type OwnedFd,
  openPidfd,
  Pipe,
  type ResourceLimit,
  sendFds,
  setResourceLimit,
  waitForChild,
} from '../linux/index.ts';
import type { State } from '../oci/index.ts';
import { type Bundle, loadBundle } from './bundle.ts';
import { connectConsole } from './console-socket.ts';
import {
  CONFIG_COPY,
  type ContainerState,
  EXEC_FIFO,
  START_ERRORS,
  writeContainerState,
} from './container-state.ts';
import { endedError, type InnerHook, openInnerHooks, runHooks, writeState } from './hooks.ts';
import { writeIdMappings } from './id-mappings.ts';
import { cgroupFds, type OpenedFds, openCgroups, planInit } from './init-plan.ts';
import { buildInitProgram, type InitPlan, type InitProgram } from './init-program.ts';
import { writePidFile } from './pid-file.ts';
import { countPreservedFds } from './preserved-fds.ts';
import { readProcessStat } from './process-stat.ts';
import type { Stdio } from './process-steps.ts';
import { Rollback } from './rollback.ts';
import { isRootless, type RuntimeOptions } from './runtime-options.ts';
import { makeStateDirectory, removeStateDirectory, statePath } from './state-directory.ts';
import { refuseUnsupported } from './unsupported.ts';

export interface CreateRequest {
  readonly id: string;
  /** Absolute path of the bundle. */
  readonly bundle: string;
  readonly consoleSocket?: string;
  readonly pidfdSocket?: string;
  readonly pidFile?: string;
  readonly noPivot?: boolean;
  readonly noNewKeyring?: boolean;
  /** fds from 3 on to pass to the container, after those of socket activation. */
  readonly preserveFds?: number;
  readonly listenFds?: number;
  /** Whether the caller stays and can own a terminal; `run` in the foreground. */
  readonly isForeground?: boolean;
  /** Connected socket that gets the terminal, instead of `consoleSocket`. */
  readonly consoleFd?: number;
  readonly stdio?: Stdio;
}

const OWN_STDIO: Stdio = [0, 1, 2];

/** The program that `create` would run, as text; nothing is made. */
export function explainCreate(options: RuntimeOptions, request: CreateRequest): string[] {
  const bundle = loadBundle(request.bundle);
  refuseUnsupported(bundle.spec);
  const host = detectCgroupHost();
  const cgroup = locate(options, request.id, bundle, host);
  using rollback = new Rollback();
  const { streams } = openInnerHooks(bundle.spec.hooks ?? {}, rollback);
  const fds = standInFds(cgroup);
  return buildInitProgram(
    planInit(bundle, request, { host, manager: cgroup }, fds, 0, streams, rollback),
  ).program.explain();
}

/** Numbers that stand for fds which only a real run opens. */
function standInFds(cgroup: CgroupManager): OpenedFds {
  return {
    report: 100,
    goOn: 101,
    startFifo: 102,
    startErrors: 103,
    console: 104,
    stdio: OWN_STDIO,
    ...cgroupFds(cgroup, () => 105),
  };
}

/**
 * Creates a container and returns when its process waits for `start`. Whatever fails, nothing is
 * left behind: no process, cgroup, mount or state directory. Returns its pid.
 */
export function createContainer(
  options: RuntimeOptions,
  request: CreateRequest,
  bundle: Bundle = loadBundle(request.bundle),
): number {
  refuseUnsupported(bundle.spec);
  const preserved = countPreservedFds(request.preserveFds ?? 0, request.listenFds ?? 0);
  using rollback = new Rollback();
  try {
    const console = openConsole(request, bundle, rollback);
    const directory = makeStateDirectory(options.root, request.id);
    rollback.onFailure(() => removeStateDirectory(options.root, request.id));
    const host = detectCgroupHost();
    const cgroup = locate(options, request.id, bundle, host);
    const resources = bundle.spec.linux?.resources ?? {};
    cgroup.create({ ...resources, devices: containerDeviceRules(resources.devices) });
    rollback.onFailure(() => cgroup.undoCreate());

    const report = rollback.use(new Pipe());
    const goOn = rollback.use(new Pipe());
    const { hooks, streams } = openInnerHooks(bundle.spec.hooks ?? {}, rollback);
    const fds: OpenedFds = {
      report: report.writeEnd.number,
      goOn: goOn.readEnd.number,
      ...openStartFiles(directory, rollback),
      console,
      stdio: request.stdio ?? OWN_STDIO,
      ...openCgroups(cgroup, rollback),
    };
    const plan = planInit(
      bundle,
      request,
      { host, manager: cgroup },
      fds,
      preserved,
      streams,
      rollback,
    );
    const program = buildInitProgram(plan);
    writeFileSync(statePath(options.root, request.id, CONFIG_COPY), bundle.config, { mode: 0o600 });
    const birth = new Birth(
      options,
      request,
      bundle,
      plan,
      program,
      cgroup,
      { report, goOn },
      hooks,
    );
    const pid = birth.run(rollback);
    rollback.keep();
    return pid;
  } catch (thrown) {
    throw rollback.failed(TsError.from(thrown, 'create container'));
  }
}

function locate(
  options: RuntimeOptions,
  id: string,
  { spec }: Bundle,
  host: CgroupHost,
): CgroupManager {
  const cgroupsPath = spec.linux?.cgroupsPath;
  return locateCgroup(
    {
      id,
      rootless: isRootless(options, process.geteuid?.() ?? 0),
      ...(cgroupsPath === undefined ? {} : { cgroupsPath }),
    },
    host,
  );
}

function openConsole(
  request: CreateRequest,
  bundle: Bundle,
  rollback: Rollback,
): number | undefined {
  if (request.consoleFd !== undefined) return request.consoleFd;
  const isDetached = request.isForeground !== true;
  const socket = connectConsole(bundle.process, request.consoleSocket, { isDetached });
  return socket === undefined ? undefined : rollback.use(socket).number;
}

/** The fifo on which the process waits, and the file for what fails after that. */
function openStartFiles(
  directory: string,
  rollback: Rollback,
): { startFifo: number; startErrors: number } {
  const open = (name: string, flags: string): number => {
    const fd = openSync(`${directory}/${name}`, flags, 0o600);
    rollback.always(() => closeSync(fd));
    return fd;
  };
  makeFifo(`${directory}/${EXEC_FIFO}`, 0o600);
  const startErrors = open(START_ERRORS, 'a');
  // The child shares the lock: it ends when the last copy of the fd is closed, by execve or by exit.
  lockExclusively(startErrors, START_ERRORS);
  // Open for writing too, so that the reader waits for a byte instead of for a writer.
  return { startFifo: open(EXEC_FIFO, 'r+'), startErrors };
}

/** The time from the first clone until the container's process waits for `start`. */
class Birth {
  readonly #options: RuntimeOptions;
  readonly #request: CreateRequest;
  readonly #bundle: Bundle;
  readonly #plan: InitPlan;
  readonly #init: InitProgram;
  readonly #cgroup: CgroupManager;
  readonly #pipes: { readonly report: Pipe; readonly goOn: Pipe };
  readonly #hooks: readonly InnerHook[];
  #pid = 0;

  constructor(
    options: RuntimeOptions,
    request: CreateRequest,
    bundle: Bundle,
    plan: InitPlan,
    init: InitProgram,
    cgroup: CgroupManager,
    pipes: { readonly report: Pipe; readonly goOn: Pipe },
    hooks: readonly InnerHook[],
  ) {
    this.#options = options;
    this.#request = request;
    this.#bundle = bundle;
    this.#plan = plan;
    this.#init = init;
    this.#cgroup = cgroup;
    this.#pipes = pipes;
    this.#hooks = hooks;
  }

  run(rollback: Rollback): number {
    const { program, pid } = this.#init;
    const run = rollback.use(program.run());
    this.#pipes.report.writeEnd.close();
    const first = run.value(pid);
    rollback.onFailure(() => killAndReap(first));
    if (this.#init.joined === undefined) this.#born(first);
    else rollback.onFailure(() => killAndReap(this.#pid));
    this.#followUntilReady(first);
    if (this.#plan.identity.parentSetsLimits) this.#setLimits();
    const { pidFile, pidfdSocket } = this.#request;
    if (pidfdSocket !== undefined) sendPidfd(pidfdSocket, this.#pid);
    if (pidFile !== undefined) writePidFile(pidFile, this.#pid);
    return this.#pid;
  }

  /** The container's pid is known: what has to be done from outside. */
  #born(pid: number): void {
    this.#pid = pid;
    writeContainerState(this.#options.root, this.#state());
    const score = this.#plan.identity.process.oomScoreAdj;
    if (this.#plan.identity.parentSetsLimits && score !== undefined) {
      write(`/proc/${pid}/oom_score_adj`, String(score), `set process.oomScoreAdj ${score}`);
    }
    if (this.#plan.namespaces.hasNewUser) {
      const caller = { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 };
      writeIdMappings(pid, this.#bundle.spec.linux ?? {}, caller);
      this.#sayGoOn();
    }
  }

  #followUntilReady(first: number): void {
    const { program, joined, unsharedTime, hooksDue, ready, hookEnds } = this.#init;
    for (;;) {
      const reached = program.readReport(this.#pipes.report.readEnd.number);
      if (reached === undefined) throw diedEarly();
      const { announcement, value } = reached;
      if (announcement === ready) return;
      if (announcement === joined) {
        waitForChild(first);
        this.#born(Number(value));
      } else if (announcement === unsharedTime) {
        this.#writeTimeOffsets();
        this.#sayGoOn();
      } else if (announcement === hooksDue) {
        this.#runHooks();
        this.#sayGoOn();
      } else if (hookEnds.has(announcement) && value !== 0n) {
        throw this.#innerHookError(announcement.name, Number(value));
      }
    }
  }

  #sayGoOn(): void {
    writeSync(this.#pipes.goOn.writeEnd.number, '\0');
  }

  #writeTimeOffsets(): void {
    const offsets = this.#bundle.spec.linux?.timeOffsets ?? {};
    const lines = (['monotonic', 'boottime'] as const).flatMap((clock) => {
      const offset = offsets[clock];
      return offset === undefined
        ? []
        : [`${clock} ${offset.secs ?? 0n} ${offset.nanosecs ?? 0}\n`];
    });
    if (lines.length === 0) return;
    write(`/proc/${this.#pid}/timens_offsets`, lines.join(''), 'set linux.timeOffsets');
  }

  #runHooks(): void {
    const { hooks } = this.#bundle.spec;
    const state = this.#specState('creating');
    for (const { stdin, name } of this.#hooks) {
      const status = name.startsWith('createContainer') ? 'creating' : 'created';
      writeState(stdin, this.#specState(status));
    }
    runHooks(hooks?.prestart, 'prestart', state, this.#plan.identity.openFiles);
    runHooks(hooks?.createRuntime, 'createRuntime', state, this.#plan.identity.openFiles);
  }

  #innerHookError(announcement: string, status: number): TsError {
    const hook = this.#hooks.find(({ name }) => announcement.startsWith(`hooks.${name} `));
    const name = hook === undefined ? 'hook' : `hooks.${hook.name}`;
    return endedError(name, status, hook?.stderr as OwnedFd);
  }

  #setLimits(): void {
    const { process, openFiles } = this.#plan.identity;
    const rlimits = process.rlimits ?? [];
    if (!rlimits.some(({ type }) => type === 'RLIMIT_NOFILE')) {
      setResourceLimit(this.#pid, 'RLIMIT_NOFILE', openFiles);
    }
    for (const { type, soft, hard } of rlimits) {
      setResourceLimit(this.#pid, type as ResourceLimit, { soft, hard });
    }
  }

  #specState(status: State['status']): State {
    const { spec, directory } = this.#bundle;
    return {
      ociVersion: spec.ociVersion,
      id: this.#request.id,
      status,
      pid: this.#pid,
      bundle: directory,
      ...(spec.annotations === undefined ? {} : { annotations: spec.annotations }),
    };
  }

  #state(): ContainerState {
    const { spec, directory, rootfs } = this.#bundle;
    const namespaces = ['mnt', 'pid', 'net', 'uts', 'ipc', 'user', 'cgroup'];
    const uid = process.geteuid?.() ?? 0;
    return {
      id: this.#request.id,
      pid: this.#pid,
      startTime: readProcessStat(this.#pid)?.startTime ?? 0,
      created: new Date().toISOString(),
      ociVersion: spec.ociVersion,
      bundle: directory,
      rootfs,
      owner: uid,
      isRootless: isRootless(this.#options, uid),
      sharesPidNamespace: !this.#plan.namespaces.cloned.includes('pid'),
      annotations: spec.annotations ?? {},
      cgroupPaths: this.#cgroup.paths,
      namespacePaths: Object.fromEntries(
        namespaces.map((name) => [NAMESPACE_KEYS[name] ?? name, `/proc/${this.#pid}/ns/${name}`]),
      ),
      startLabels: this.#init.startLabels,
    };
  }
}

/** runc's names in state.json. */
const NAMESPACE_KEYS: Readonly<Record<string, string>> = {
  mnt: 'NEWNS',
  pid: 'NEWPID',
  net: 'NEWNET',
  uts: 'NEWUTS',
  ipc: 'NEWIPC',
  user: 'NEWUSER',
  cgroup: 'NEWCGROUP',
};

function killAndReap(pid: number): void {
  if (pid <= 0) return;
  kill(pid, SIGKILL);
  waitForChild(pid);
}

const SIGKILL = 9;

function diedEarly(): TsError {
  return new TsError('Unknown', 'the container process died before it was ready', {
    code: 'TS_INIT_DIED',
    advice: 'look whether the kernel killed it for want of memory (dmesg), or raise the limit',
  });
}

function sendPidfd(socketPath: string, pid: number): void {
  using socket = connectUnix(socketPath);
  using pidfd = openPidfd(pid);
  if (pidfd !== undefined) sendFds(socket.number, Buffer.from('standard'), [pidfd.number]);
}

function write(path: string, text: string, operation: string): void {
  try {
    writeFileSync(path, text);
  } catch (thrown) {
    throw TsError.from(thrown, operation);
  }
}
