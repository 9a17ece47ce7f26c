/** `exec`: another process in a running container. */
import { readFileSync, writeFileSync, writeSync } from 'node:fs';
import { isErrno, TsError } from '../errors/index.ts';
import {
  type Operation,
  type OwnedFd,
  openPidfd,
  Pipe,
  type ProgramRun,
  type Reached,
  readable,
  settled,
} from '../linux/index.ts';
import { type Process, parseSpec, type Spec } from '../oci/index.ts';
import { OwnChild, sendPidfd, setLimits } from './child.ts';
import { connectConsole } from './console-socket.ts';
import {
  CONFIG_COPY,
  type ContainerState,
  isInitAlive,
  readContainerState,
} from './container-state.ts';
import { planCapabilities } from './credential-steps.ts';
import { withProgramEnvironment } from './environment.ts';
import { execCgroupPaths } from './exec-cgroup.ts';
import { explainExecFailure } from './exec-failure.ts';
import { type ExecProcessOptions, execProcess } from './exec-process.ts';
import { buildExecProgram, type ExecPlan, type ExecProgram } from './exec-program.ts';
import { HomeByChild } from './home-by-child.ts';
import { withHome } from './home-directory.ts';
import { hookState } from './hook-state.ts';
import { inheritedOpenFiles } from './inherited-limits.ts';
import { availableCapabilities } from './own-capabilities.ts';
import { writePidFile } from './pid-file.ts';
import { countPreservedFds, withListenFds } from './preserved-fds.ts';
import { openCgroups, openHostProc, ownedStdio } from './process-fds.ts';
import type { Stdio } from './process-steps.ts';
import { Rollback } from './rollback.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { compileSeccomp } from './seccomp-filter.ts';
import { sendListener } from './seccomp-listener.ts';
import { statePath } from './state-directory.ts';
import { containerStatus } from './status.ts';
import { withStepAdvice } from './step-advice.ts';
import { denyingModules, refuseMissingModules } from './unsupported.ts';

export interface ExecRequest extends ExecProcessOptions {
  readonly id: string;
  readonly consoleSocket?: string;
  readonly pidfdSocket?: string;
  readonly pidFile?: string;
  readonly detach?: boolean;
  readonly preserveFds?: number;
  readonly listenFds?: number;
  /** `[controller,...:]path` of existing cgroups below the container's. */
  readonly cgroups?: readonly string[];
  readonly ignorePaused?: boolean;
  /** Connected socket that gets the terminal, instead of `consoleSocket`. */
  readonly consoleFd?: number;
  readonly stdio?: Stdio;
  /** Called when the program was executed. */
  readonly onStarted?: () => void;
}

const OWN_STDIO: Stdio = [0, 1, 2];

/** The process that `exec` would run, before anything else is looked at. */
export function resolveExecProcess(options: RuntimeOptions, request: ExecRequest): Process {
  readContainerState(options.root, request.id); // NotFound before anything is read of it
  return execProcess(request, readSpecCopy(options, request.id).process);
}

function readSpecCopy(options: RuntimeOptions, id: string): Spec {
  return parseSpec(readFileSync(statePath(options.root, id, CONFIG_COPY)));
}

/**
 * Starts the process and returns its pid once it has executed its program; it is a child of this
 * process. Throws FailedPrecondition if the container does not run.
 */
export function* startExec(options: RuntimeOptions, request: ExecRequest): Operation<number> {
  return yield* Rollback.run('exec', function* (rollback) {
    const report = rollback.use(new Pipe());
    const goOn = rollback.use(new Pipe());
    const plan = planExec(options, request, { report, goOn }, rollback);
    const pid = yield* new ExecBirth(options, request, plan, { report, goOn }).run(rollback);
    request.onStarted?.();
    return pid;
  });
}

/** The program that `exec` would run, as text. */
export function explainExec(options: RuntimeOptions, request: ExecRequest): Operation<string[]> {
  // biome-ignore lint/correctness/useYield: it only opens and closes
  return Rollback.run('explain exec', function* (rollback): Operation<string[]> {
    const pipes = { report: rollback.use(new Pipe()), goOn: rollback.use(new Pipe()) };
    return buildExecProgram(planExec(options, request, pipes, rollback)).program.explain();
  });
}

interface ExecPipes {
  readonly report: Pipe;
  readonly goOn: Pipe;
}

interface PlannedExec extends ExecPlan {
  readonly container: ContainerState;
}

function planExec(
  options: RuntimeOptions,
  request: ExecRequest,
  { report, goOn }: ExecPipes,
  rollback: Rollback,
): PlannedExec {
  const state = readContainerState(options.root, request.id);
  const pidfd = openInit(options, state, request, rollback);
  const spec = readSpecCopy(options, request.id);
  const wanted = withProgramEnvironment(execProcess(request, spec.process));
  refuseMissingModules(wanted, 'process.');
  const mayWait = options.perform === undefined;
  const withOwnHome = mayWait ? withHome(wanted, `/proc/${state.pid}/root`) : wanted;
  const ownProcess = withListenFds(withOwnHome, request.listenFds ?? 0);
  const home = HomeByChild.of(ownProcess);
  if (home !== undefined) rollback.use(home);
  const namespaces = (spec.linux?.namespaces ?? []).map(({ type }) => type);
  const inUserNamespace = namespaces.includes('user');
  const isRoot = (process.geteuid?.() ?? 0) === 0;
  const { names, last } = availableCapabilities({ inUserNamespace });
  const stdio = request.stdio ?? OWN_STDIO;
  const paths = execCgroupPaths(state, request.cgroups ?? []);
  const { seccomp, personality, memoryPolicy } = spec.linux ?? {};
  return {
    container: state,
    id: request.id,
    isRoot,
    pidfd: pidfd.number,
    namespaces,
    report: report.writeEnd.number,
    goOn: goOn.readEnd.number,
    console: openConsole(request, ownProcess, rollback),
    ...openCgroups(paths, rollback),
    stdio,
    supervised: { seccomp, state: hookState(state, 'running') },
    identity: {
      process: ownProcess,
      personality,
      memoryPolicy,
      capabilities: planCapabilities(ownProcess.capabilities, names),
      lastCapability: last,
      maySetGroups: maySetGroupsIn(state.pid) ? 'yes' : 'no',
      seccomp: seccomp === undefined ? undefined : compileSeccomp(seccomp),
      parentSetsLimits: inUserNamespace && isRoot,
      openFiles: inheritedOpenFiles(),
      ownedStdio: ownedStdio(stdio, ownProcess.terminal === true),
      proc: openHostProc(rollback),
      home,
      preserved: countPreservedFds(request.preserveFds ?? 0, request.listenFds ?? 0),
      report: report.writeEnd.number,
      goOn: goOn.readEnd.number,
    },
  };
}

/** Refers to init itself: its namespaces are joined by this, whatever becomes of its pid. */
function openInit(
  options: RuntimeOptions,
  state: ContainerState,
  request: ExecRequest,
  rollback: Rollback,
): OwnedFd {
  const pidfd = openPidfd(state.pid);
  if (pidfd === undefined) throw stopped(request.id);
  rollback.use(pidfd);
  if (!isInitAlive(state)) throw stopped(request.id);
  const isPaused = containerStatus(options.root, state) === 'paused';
  if (isPaused && request.ignorePaused !== true) {
    throw new TsError('FailedPrecondition', `${request.id}: cannot exec in a paused container`, {
      code: 'TS_CONTAINER_PAUSED',
      advice: 'resume it first, or use --ignore-paused',
      fields: { id: request.id },
    });
  }
  return pidfd;
}

function stopped(id: string): TsError {
  return new TsError('FailedPrecondition', `${id}: cannot exec in a stopped container`, {
    code: 'TS_CONTAINER_STOPPED',
    fields: { id },
  });
}

/** Whether the user namespace of a process permits setgroups(2). */
function maySetGroupsIn(pid: number): boolean {
  return readFileSync(`/proc/${pid}/setgroups`, 'latin1').startsWith('allow');
}

function openConsole(
  request: ExecRequest,
  execProcess: Process,
  rollback: Rollback,
): number | undefined {
  if (request.consoleFd !== undefined) return request.consoleFd;
  const isDetached = request.detach === true;
  const socket = connectConsole(execProcess, request.consoleSocket, { isDetached });
  return socket === undefined ? undefined : rollback.use(socket).number;
}

/** The time from the first clone until the program is executed. */
class ExecBirth {
  readonly #request: ExecRequest;
  readonly #options: RuntimeOptions;
  readonly #plan: PlannedExec;
  readonly #exec: ExecProgram;
  readonly #pipes: ExecPipes;

  constructor(options: RuntimeOptions, request: ExecRequest, plan: PlannedExec, pipes: ExecPipes) {
    this.#options = options;
    this.#request = request;
    this.#plan = plan;
    this.#exec = buildExecProgram(plan);
    this.#pipes = pipes;
  }

  #start(): ProgramRun {
    try {
      return this.#exec.program.run();
    } catch (thrown) {
      throw explained(TsError.from(thrown), this.#request.id, undefined);
    }
  }

  *run(rollback: Rollback): Operation<number> {
    const run = rollback.use(this.#start());
    this.#pipes.report.writeEnd.close();
    this.#pipes.goOn.readEnd.close();
    this.#plan.identity.home?.release();
    const joiner = run.value(this.#exec.joiner);
    const first = yield* OwnChild.adopt(joiner);
    rollback.onFailure(() => first.end());
    const child = yield* this.#follow(rollback);
    yield* first.exit();
    return child.pid;
  }

  /**
   * Reads to the end: the pipe closes when the joiner has ended and the process has executed its
   * program. An error is kept until then, since the pid may come after it; so is what the process
   * says before the joiner has told its pid.
   */
  *#follow(rollback: Rollback): Operation<OwnChild> {
    const { program, joined } = this.#exec;
    const fd = this.#pipes.report.readEnd.number;
    const early: Reached[] = [];
    let child: OwnChild | undefined;
    let failure: TsError | undefined;
    let isDead = false;
    let head: Uint8Array | undefined;
    for (;;) {
      yield* readable(fd);
      try {
        const reached = program.readReport(fd);
        if (reached === undefined) break;
        head ??= reached.bytes;
        if (reached.announcement === joined) {
          const born = yield* OwnChild.adopt(Number(reached.value));
          rollback.onFailure(() => born.end());
          child = born;
          if (born.isThere) this.#setOomScore(born.pid);
          for (const said of early) yield* this.#answer(said, born.pid, rollback);
        } else if (child === undefined) {
          early.push(reached);
        } else {
          yield* this.#answer(reached, child.pid, rollback);
        }
      } catch (thrown) {
        isDead = true;
        // It has died while it waited: what of, it may have said.
        if (!isErrno(thrown, 'EPIPE'))
          failure ??= explained(TsError.from(thrown), this.#request.id, head);
        child?.kill();
      }
    }
    if (failure !== undefined) throw failure;
    if (child !== undefined && !isDead) return child;
    throw new TsError('Unknown', 'the exec process died before it was ready');
  }

  /** Does what the process waits for, and lets it go on. */
  *#answer({ announcement, value }: Reached, pid: number, rollback: Rollback): Operation<void> {
    const { ready, listener } = this.#exec;
    const { home } = this.#plan.identity;
    if (home?.isDue(announcement) === true) {
      yield* home.answer(this.#pipes.goOn.writeEnd.number);
      return;
    }
    if (announcement === ready) {
      yield* this.#complete(pid, rollback);
    } else if (announcement === listener) {
      const { seccomp, state } = this.#plan.supervised;
      if (seccomp !== undefined) yield* sendListener(seccomp, { pid, fd: Number(value), state });
    } else {
      return;
    }
    writeSync(this.#pipes.goOn.writeEnd.number, '\0');
  }

  /** The last that the process waits for: from then on it goes its way, and may outlive this one. */
  *#complete(pid: number, rollback: Rollback): Operation<void> {
    const { identity, container } = this.#plan;
    if (identity.parentSetsLimits) setLimits(pid, identity);
    if (container.resctrl !== undefined) {
      const { joinIntelRdt } = yield* settled(import('./intel-rdt.ts'));
      joinIntelRdt(this.#options, container, pid);
    }
    const { pidFile, pidfdSocket } = this.#request;
    if (pidfdSocket !== undefined) sendPidfd(pidfdSocket, pid, 'setns');
    if (pidFile !== undefined) writePidFile(pidFile, pid, rollback);
  }

  #setOomScore(pid: number): void {
    const { parentSetsLimits, process } = this.#plan.identity;
    if (!parentSetsLimits || process.oomScoreAdj === undefined) return;
    try {
      writeFileSync(`/proc/${pid}/oom_score_adj`, String(process.oomScoreAdj));
    } catch (thrown) {
      throw TsError.from(thrown, `set process.oomScoreAdj ${process.oomScoreAdj}`);
    }
  }
}

/** If the program could not be executed, what is wrong with it. */
function explained(error: TsError, id: string, head: Uint8Array | undefined): TsError {
  const { errno } = error.fields;
  const end = `: ${errno}`;
  if (typeof errno !== 'string' || !error.message.endsWith(end)) return error;
  const label = error.message.slice(0, -end.length);
  const { operation, advice } =
    errno === 'EBUSY' && label.startsWith('clone ')
      ? {
          operation: label,
          // cgroup v2's No Internal Process Constraint, met by clone3 with CLONE_INTO_CGROUP.
          advice: `name a cgroup inside of the container's own, which takes no processes: exec --cgroup PATH ${id}`,
        }
      : explainExecFailure(label, errno, head, denyingModules);
  if (advice === undefined && operation === label) return withStepAdvice(error);
  const { kind, fields } = error;
  return new TsError(kind, `${operation}${end}`, {
    fields,
    ...(advice === undefined ? {} : { advice }),
  });
}
