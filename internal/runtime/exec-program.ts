/**
 * The syscall program that puts a process into a running container: one child joins the cgroup and
 * the namespaces, and from there clones the process as its own sibling, since only children enter a
 * pid namespace.
 */
import {
  type Announcement,
  check,
  type Namespace,
  type Result,
  type Sequence,
  SyscallProgram,
  steps,
} from '../linux/index.ts';
import type { Seccomp, State } from '../oci/index.ts';
import { addConsole } from './console-steps.ts';
import { closeForeignFds } from './foreign-fds.ts';
import { parseIdList } from './id-list.ts';
import {
  addEarlyFilter,
  addIdentity,
  addOomScore,
  addProgram,
  type IdentityPlan,
} from './identity-steps.ts';
import { addScheduling, addStdio, addWorkingDirectory, type Stdio } from './process-steps.ts';

export interface ExecPlan {
  readonly id: string;
  /** Root may hide itself at once; others first need the rights that a user namespace gives. */
  readonly isRoot: boolean;
  readonly identity: IdentityPlan;
  /** Of the container's init. */
  readonly pidfd: number;
  /** Namespaces of the container that are not the host's. */
  readonly namespaces: readonly Namespace[];
  readonly report: number;
  readonly goOn: number;
  readonly console: number | undefined;
  readonly cgroupTasks: readonly (readonly [path: string, fd: number])[];
  readonly cgroup: number | undefined;
  readonly stdio: Stdio;
  /** For the agent of a seccomp filter that notifies: the container's profile and state. */
  readonly supervised: { readonly seccomp: Seccomp | undefined; readonly state: State };
}

export interface ExecProgram {
  readonly program: SyscallProgram;
  readonly joiner: Result;
  /** The process's pid. */
  readonly joined: Announcement;
  /** Nothing is left but to execute the program, once the runtime has set limits and written down the pid. */
  readonly ready: Announcement;
  /** The value is the fd that supervises what the seccomp filter notifies of. */
  readonly listener: Announcement | undefined;
}

export function buildExecProgram(plan: ExecPlan): ExecProgram {
  const { identity, report } = plan;
  const program = new SyscallProgram();
  let joined: Announcement | undefined;
  let ends: ReturnType<typeof addExecChild> | undefined;
  const joinerStep = steps.cloneProcess(plan.cgroup === undefined ? {} : { cgroup: plan.cgroup });
  const options = { reportTo: report, as: 'joiner' };
  const joiner = program.main.clone(joinerStep, options, (first) => {
    first.add(steps.setParentDeathSignal('SIGKILL'));
    if (!identity.parentSetsLimits) addOomScore(first, identity);
    // Before the container can see a process of the runtime: it must not read or trace it
    // (CVE-2016-9962), nor reach the host's binary through it (CVE-2019-5736).
    first.add(steps.setDumpable(false));
    closeForeignFds(first, ownFds(plan), identity.preserved);
    first.add(steps.closeFrom(3, 'on exec'));
    if (plan.isRoot) steps.replaceExecutable(first, 'tsrunc init');
    const { initial, final } = identity.process.execCPUAffinity ?? {};
    addAffinity(first, initial, 'initial');
    for (const [path, fd] of plan.cgroupTasks) {
      first.add(steps.write(fd, '0'), { label: `join cgroup ${path}` });
    }
    addAffinity(first, final, 'final');
    addScheduling(first, identity.process);
    first.add(steps.joinNamespacesOf(plan.pidfd, plan.namespaces), {
      label: `join the ${plan.namespaces.join(', ')} namespaces of ${plan.id}`,
    });
    const clone = steps.cloneProcess({ sibling: true });
    const pid = first.clone(clone, { reportTo: report, as: 'process' }, (child) => {
      ends = addExecChild(child, plan);
    });
    joined = first.announceProcess('joined', report, pid);
  });
  const { ready, listener } = ends as NonNullable<typeof ends>;
  return { program, joiner, joined: joined as Announcement, ready, listener };
}

/** All that the process needs of the runtime's descriptors. */
function ownFds(plan: ExecPlan) {
  const { report, goOn, console, cgroup, stdio, identity, pidfd, cgroupTasks } = plan;
  const tasks = cgroupTasks.map(([, fd]) => fd);
  const { proc, home } = identity;
  return [report, goOn, console, cgroup, pidfd, proc, home?.fd, ...stdio, ...tasks];
}

/** CPUs to run on before and after the process is in the container's cgroup. */
function addAffinity(sequence: Sequence, cpus: string | undefined, name: string): void {
  if (cpus === undefined || cpus === '') return;
  const property = `process.execCPUAffinity.${name}`;
  sequence.add(steps.setCpuAffinity(parseIdList(cpus, property)), { label: `set ${property}` });
}

function addExecChild(child: Sequence, plan: ExecPlan): Pick<ExecProgram, 'ready' | 'listener'> {
  const { identity, namespaces } = plan;
  const { process } = identity;
  child.add(steps.setParentDeathSignal('SIGKILL'));
  child.add(steps.setSession());
  if (namespaces.includes('user')) {
    child.add(steps.setGid(0));
    child.add(steps.setUid(0));
  }
  if (!plan.isRoot) steps.replaceExecutable(child, 'tsrunc init');
  child.add(steps.joinSessionKeyring(`_ses.${plan.id}`), { tolerate: 'ENOSYS' });
  const root = child.add(steps.open({ path: '/', flags: ['O_PATH', 'O_DIRECTORY'] }), {
    as: 'root',
  });
  if (process.terminal === true && plan.console !== undefined) {
    addConsole(child, {
      root,
      socket: plan.console,
      size: process.consoleSize,
      bindsDevConsole: false,
    });
  } else addStdio(child, plan.stdio);
  addWorkingDirectory(child, root, process.cwd, { create: false });
  let listener = addIdentity(child, root, identity);
  child.addAll(steps.resetSignals());
  child.add(steps.setParentDeathSignal(undefined));
  listener ??= addEarlyFilter(child, identity);
  const ready = child.announce('ready', plan.report);
  // Until then it ends with the runtime, however that is killed: nobody would know of it.
  const label = 'wait for the runtime: end of exec';
  const length = child.add(steps.waitForBytes(plan.goOn), { label, retryOn: 'EINTR' });
  child.add(check(label, length, { equals: 1, errno: 'EPIPE' }));
  addProgram(child, identity);
  return { ready, listener };
}
