import { writeFileSync, writeSync } from 'node:fs';
import type { CgroupManager, ResctrlGroup } from '../cgroups/index.ts';
import { isErrno, TsError } from '../errors/index.ts';
import { type Operation, type OwnedFd, type Pipe, type Reached, readable } from '../linux/index.ts';
import type { State } from '../oci/index.ts';
import type { Bundle } from './bundle.ts';
import { OwnChild, sendPidfd, setLimits } from './child.ts';
import { type ContainerState, writeContainerState } from './container-state.ts';
import type { CreateRequest } from './create.ts';
import { endedError, type InnerHook, runHooks, writeState } from './hooks.ts';
import { writeIdMappings } from './id-mappings.ts';
import type { InitPlan, InitProgram } from './init-program.ts';
import { MovedNetDevices } from './net-devices.ts';
import { newContainerState } from './new-container-state.ts';
import { writePidFile } from './pid-file.ts';
import { pidSeenInside } from './process-stat.ts';
import type { Rollback } from './rollback.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { sendListener } from './seccomp-listener.ts';
import { withStepAdvice } from './step-advice.ts';

/** What the container's processes are in. */
export interface Groups {
  readonly cgroup: CgroupManager;
  readonly resctrl: ResctrlGroup | undefined;
}

/** The time from the first clone until the container's process waits for `start`. */
export class Birth {
  readonly #options: RuntimeOptions;
  readonly #request: CreateRequest;
  readonly #bundle: Bundle;
  readonly #plan: InitPlan;
  readonly #init: InitProgram;
  readonly #groups: Groups;
  readonly #pipes: { readonly report: Pipe; readonly goOn: Pipe };
  readonly #hooks: readonly InnerHook[];
  #pid = 0;

  constructor(
    options: RuntimeOptions,
    request: CreateRequest,
    bundle: Bundle,
    plan: InitPlan,
    init: InitProgram,
    groups: Groups,
    pipes: { readonly report: Pipe; readonly goOn: Pipe },
    hooks: readonly InnerHook[],
  ) {
    this.#options = options;
    this.#request = request;
    this.#bundle = bundle;
    this.#plan = plan;
    this.#init = init;
    this.#groups = groups;
    this.#pipes = pipes;
    this.#hooks = hooks;
  }

  *run(rollback: Rollback): Operation<number> {
    const { program, pid } = this.#init;
    const run = rollback.use(program.run());
    this.#pipes.report.writeEnd.close();
    this.#pipes.goOn.readEnd.close();
    this.#plan.identity.home?.release();
    const first = run.value(pid);
    const child = yield* OwnChild.adopt(first);
    rollback.onFailure(() => child.end());
    if (this.#init.joined === undefined) this.#born(first);
    yield* this.#followUntilReady(child, rollback);
    if (this.#plan.identity.parentSetsLimits) setLimits(this.#pid, this.#plan.identity);
    const { pidFile, pidfdSocket } = this.#request;
    if (pidfdSocket !== undefined) sendPidfd(pidfdSocket, this.#pid, 'standard');
    if (pidFile !== undefined) writePidFile(pidFile, this.#pid, rollback);
    yield* this.#release();
    return this.#pid;
  }

  /** The container's pid is known: what has to be done from outside. */
  #born(pid: number): void {
    this.#pid = pid;
    writeContainerState(this.#options.root, this.#state());
    this.#groups.resctrl?.join(pid); // before any hook: children are born where their parent is
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

  *#nextReport(): Operation<Reached | undefined> {
    const fd = this.#pipes.report.readEnd.number;
    yield* readable(fd);
    try {
      return this.#init.program.readReport(fd);
    } catch (thrown) {
      throw withStepAdvice(TsError.from(thrown));
    }
  }

  /**
   * `first` is the container's process, or the one that joins namespaces and clones it. They run at the same time: what
   * the container says before the other has told its pid is kept until then.
   */
  *#followUntilReady(first: OwnChild, rollback: Rollback): Operation<void> {
    const { joined, unsharedTime, hooksDue, ready, listener, hookEnds } = this.#init;
    const { home } = this.#plan.identity;
    const early: Reached[] = [];
    for (;;) {
      const kept = this.#pid === 0 ? undefined : early.shift();
      const reached = kept ?? (yield* this.#nextReport());
      if (reached === undefined) throw this.#diedEarly();
      const { announcement, value } = reached;
      if (this.#pid === 0 && announcement !== joined) {
        early.push(reached);
        continue;
      }
      if (announcement === ready) return;
      if (announcement === joined) {
        const child = yield* OwnChild.adopt(Number(value));
        rollback.onFailure(() => child.end());
        if (child.isThere) this.#born(child.pid); // else what it died of comes next
        yield* first.exit();
      } else if (home?.isDue(announcement) === true) {
        yield* home.answer(this.#pipes.goOn.writeEnd.number);
      } else if (announcement === unsharedTime) {
        this.#writeTimeOffsets();
        this.#sayGoOn();
      } else if (announcement === hooksDue) {
        this.#moveNetDevices(rollback);
        yield* this.#runHooks();
        this.#sayGoOn();
      } else if (announcement === listener) {
        yield* this.#sendListener(Number(value));
        this.#sayGoOn();
      } else if (hookEnds.has(announcement) && value !== 0n) {
        throw this.#innerHookError(announcement.name, Number(value));
      }
    }
  }

  #diedEarly(): TsError {
    const { memory } = this.#bundle.spec.linux?.resources ?? {};
    if (memory?.limit !== undefined && this.#groups.cgroup.oomKills() > 0n) {
      return new TsError(
        'ResourceExhausted',
        'the container process was killed for want of memory before it was ready',
        {
          code: 'TS_INIT_OUT_OF_MEMORY',
          advice: `raise linux.resources.memory.limit, which is ${memory.limit} bytes`,
        },
      );
    }
    return new TsError('Unknown', 'the container process died before it was ready', {
      code: 'TS_INIT_DIED',
      advice: 'look whether the kernel killed it for want of memory (dmesg), or raise the limit',
    });
  }

  #moveNetDevices(rollback: Rollback): void {
    const devices = this.#bundle.spec.linux?.netDevices ?? {};
    if (Object.keys(devices).length === 0) return;
    const moved = rollback.use(new MovedNetDevices(this.#pid));
    rollback.onFailure(() => moved.undo());
    moved.move(devices);
  }

  *#sendListener(fd: number): Operation<void> {
    const { seccomp } = this.#bundle.spec.linux ?? {};
    if (seccomp === undefined) return;
    yield* sendListener(seccomp, { pid: this.#pid, fd, state: this.#specState('creating') });
  }

  /**
   * All is done and written down: the process may outlive this one. It has waited for that, and would have ended with this
   * process, however that was killed.
   */
  *#release(): Operation<void> {
    try {
      this.#sayGoOn();
    } catch (thrown) {
      if (!isErrno(thrown, 'EPIPE')) throw thrown;
      yield* this.#nextReport(); // throws what it died of
      throw this.#diedEarly();
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

  *#runHooks(): Operation<void> {
    const { hooks } = this.#bundle.spec;
    const state = this.#specState('creating');
    if (this.#hooks.length > 0) {
      // runtime-spec runtime.md#state: in the container's namespaces the pid is the one that is seen there.
      const pid = pidSeenInside(this.#pid);
      for (const { stdin, name } of this.#hooks) {
        const status = name.startsWith('createContainer') ? 'creating' : 'created';
        writeState(stdin, { ...this.#specState(status), pid });
      }
    }
    yield* runHooks(hooks?.prestart, 'prestart', state);
    yield* runHooks(hooks?.createRuntime, 'createRuntime', state);
  }

  #innerHookError(announcement: string, status: number): TsError {
    const hook = this.#hooks.find(({ name }) => announcement.startsWith(`hooks.${name} `));
    const name = hook === undefined ? 'hook' : `hooks.${hook.name}`;
    return endedError(name, status, hook?.stderr as OwnedFd);
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
    return newContainerState({
      options: this.#options,
      id: this.#request.id,
      pid: this.#pid,
      bundle: this.#bundle,
      cgroup: this.#groups.cgroup,
      resctrl: this.#groups.resctrl?.paths,
      sharesPidNamespace: !this.#plan.namespaces.cloned.includes('pid'),
      cgroupScope: this.#request.scope?.name,
      stdio: this.#plan.fds.stdio,
      startLabels: this.#init.startLabels,
    });
  }
}

function write(path: string, text: string, operation: string): void {
  try {
    writeFileSync(path, text);
  } catch (thrown) {
    throw TsError.from(thrown, operation);
  }
}
