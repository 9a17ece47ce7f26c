/**
 * The syscall program that makes a container: everything that happens between the clone of its first
 * process and the execve of the user's program. Building it makes no system call.
 */

import {
  type Announcement,
  check,
  type Result,
  type Sequence,
  SyscallProgram,
  steps,
} from '../linux/index.ts';
import type { Spec } from '../oci/index.ts';
import { addCgroupMount, type CgroupView } from './cgroup-mount-steps.ts';
import { addConsole } from './console-steps.ts';
import type { PlannedDevice } from './device-plan.ts';
import { addDevices, addDevSymlinks } from './device-steps.ts';
import { closeForeignFds } from './foreign-fds.ts';
import { addHook, type HookContext, type HookStreams } from './hook-steps.ts';
import {
  addEarlyFilter,
  addIdentity,
  addOomScore,
  addProgram,
  type IdentityPlan,
} from './identity-steps.ts';
import type { MaskedPath } from './mask-plan.ts';
import type { MountPlan, PlannedMount } from './mount-plan.ts';
import { addMount, type MountContext } from './mount-steps.ts';
import type { NamespacePlan } from './namespace-plan.ts';
import { addJoins, type OpenNamespace } from './namespace-steps.ts';
import {
  addOwnNull,
  addScheduling,
  addStdio,
  addWorkingDirectory,
  type Stdio,
} from './process-steps.ts';
import {
  addMasks,
  addMoveRoot,
  addPivotRoot,
  addPrepareRootfs,
  addReadOnlyPaths,
  addReadOnlyRoot,
  type RootfsOptions,
  rootPropagationSteps,
} from './rootfs-steps.ts';
import { addSysctls } from './sysctl-steps.ts';

/** fds of the runtime that the child inherits; all are close-on-exec. */
export interface InitFds {
  /** Write end of the pipe for announcements and errors. */
  readonly report: number;
  /** Read end of the pipe on which the runtime says: go on. */
  readonly goOn: number;
  /** exec.fifo, open for reading and writing. */
  readonly startFifo: number;
  /** Takes the error of a step after `start`. */
  readonly startErrors: number;
  /** Connected console socket of a process with a terminal. */
  readonly console: number | undefined;
  /** `tasks` files of cgroup v1 to join by writing 0, with their paths. */
  readonly cgroupTasks: readonly (readonly [path: string, fd: number])[];
  /** Directory of cgroup v2 for clone3. */
  readonly cgroup: number | undefined;
  readonly namespaces: readonly OpenNamespace[];
  readonly stdio: Stdio;
}

export interface InitPlan {
  readonly id: string;
  readonly spec: Spec;
  readonly identity: IdentityPlan;
  readonly fds: InitFds;
  readonly namespaces: NamespacePlan;
  /** Root may hide itself at once; others first need the rights that a user namespace gives. */
  readonly isRoot: boolean;
  readonly rootfs: RootfsOptions;
  readonly usesPivotRoot: boolean;
  readonly mounts: MountPlan;
  readonly mountContext: Omit<MountContext, 'root' | 'finally'>;
  readonly cgroupView: CgroupView;
  readonly devices: readonly PlannedDevice[];
  /** Which of stdio are the host's /dev/null and become the container's. */
  readonly nullStdio: readonly number[];
  /** Whether mknod(2) of devices is permitted: not in a user namespace. */
  readonly mayMakeNodes: boolean;
  readonly maskedPaths: readonly MaskedPath[];
  /** Whether /dev is filled; if so whether the host has /proc/kcore. */
  readonly dev: { readonly hasKcore: boolean } | undefined;
  readonly joinsKeyring: boolean;
  /** stdin and so on of each hook that runs inside, by its name. */
  readonly hookStreams: ReadonlyMap<string, HookStreams>;
}

export interface InitProgram {
  readonly program: SyscallProgram;
  /** Of the first clone: the container's process, or the one that joins for it. */
  readonly pid: Result;
  /** The container's pid, where the first clone was the joiner. */
  readonly joined: Announcement | undefined;
  readonly unsharedTime: Announcement | undefined;
  /** The rootfs is complete but not yet entered: time for network devices and the runtime's hooks. */
  readonly hooksDue: Announcement | undefined;
  readonly ready: Announcement;
  /** The value is the fd that supervises what the seccomp filter notifies of. */
  readonly listener: Announcement | undefined;
  /** Exit status of each hook that ran inside. */
  readonly hookEnds: ReadonlySet<Announcement>;
  /** Labels of the steps after `start`, by index. */
  readonly startLabels: Readonly<Record<string, string>>;
}

export function buildInitProgram(plan: InitPlan): InitProgram {
  const program = new SyscallProgram();
  const builder = new InitBuilder(plan);
  const { namespaces, fds } = plan;
  let joined: Announcement | undefined;
  const cloneContainer = (sequence: Sequence, sibling: boolean): Result => {
    const cgroup = fds.cgroup === undefined ? {} : { cgroup: fds.cgroup };
    const step = steps.cloneProcess({ namespaces: namespaces.cloned, sibling, ...cgroup });
    return sequence.clone(step, { reportTo: fds.report, as: 'init' }, (child) => {
      builder.build(child);
    });
  };
  let pid: Result;
  if (namespaces.needsJoiner) {
    const joinerStep = steps.cloneProcess({});
    pid = program.main.clone(joinerStep, { reportTo: fds.report, as: 'joiner' }, (joiner) => {
      joiner.add(steps.setParentDeathSignal('SIGKILL'));
      closeForeignFds(joiner, ownFds(plan), plan.identity.preserved);
      if (plan.isRoot) addHiding(joiner); // the pid namespace may be that of an attacker
      addJoins(joiner, fds.namespaces);
      const container = cloneContainer(joiner, true);
      joined = joiner.announceProcess('joined', fds.report, container);
    });
  } else pid = cloneContainer(program.main, false);
  return {
    program,
    pid,
    joined,
    unsharedTime: builder.unsharedTime,
    hooksDue: builder.hooksDue,
    ready: builder.ready as Announcement,
    listener: builder.listener,
    hookEnds: builder.hookEnds,
    startLabels: builder.startLabels,
  };
}

/**
 * Before the processes of another container can see one of the runtime: it must not be read or traced
 * (CVE-2016-9962), nor lead to the host's binary (CVE-2019-5736).
 */
function addHiding(sequence: Sequence): void {
  sequence.add(steps.setDumpable(false));
  sequence.add(steps.closeFrom(3, 'on exec'));
  steps.replaceExecutable(sequence, 'tsrunc init');
}

/** All that the child needs of the runtime's descriptors. */
function ownFds({ fds, identity, hookStreams, mountContext, rootfs }: InitPlan) {
  return [
    ...[fds.report, fds.goOn, fds.startFifo, fds.startErrors, fds.console, fds.cgroup],
    ...[
      ...fds.stdio,
      ...fds.cgroupTasks.map(([, fd]) => fd),
      ...fds.namespaces.map(({ fd }) => fd),
    ],
    ...[...hookStreams.values()].flatMap(({ stdin, stdout, stderr }) => [stdin, stdout, stderr]),
    ...[...mountContext.sourceFds.values(), ...mountContext.idmapFds.values()],
    ...[identity.proc, identity.home?.fd, rootfs.rootfsFd],
  ];
}

class InitBuilder {
  readonly #plan: InitPlan;
  readonly hookEnds = new Set<Announcement>();
  unsharedTime: Announcement | undefined;
  hooksDue: Announcement | undefined;
  ready: Announcement | undefined;
  listener: Announcement | undefined;
  startLabels: Record<string, string> = {};

  constructor(plan: InitPlan) {
    this.#plan = plan;
  }

  build(child: Sequence): void {
    const { namespaces, fds, identity, spec } = this.#plan;
    const { process } = identity;
    child.add(steps.setParentDeathSignal('SIGKILL'));
    if (!identity.parentSetsLimits) addOomScore(child, identity);
    // An unprivileged runtime writes the id mappings, and may not once the child is undumpable.
    const hidesLate = namespaces.hasNewUser && !this.#plan.isRoot;
    if (!hidesLate) child.add(steps.setDumpable(false));
    closeForeignFds(child, ownFds(this.#plan), identity.preserved);
    child.add(steps.closeFrom(3, 'on exec'));
    child.add(steps.setSession());
    if (namespaces.hasNewUser) this.#becomeRoot(child);
    else if (namespaces.needsJoiner && fds.namespaces.some(({ type }) => type === 'user')) {
      this.#becomeRootOfJoined(child);
    }
    if (hidesLate) child.add(steps.setDumpable(false));
    if (!namespaces.needsJoiner) addJoins(child, fds.namespaces);
    if (namespaces.unsharesIpc) child.add(steps.unshare(['ipc']));
    if (namespaces.unsharesTime) this.#newTime(child);
    addScheduling(child, process);
    if (this.#plan.joinsKeyring) {
      child.add(steps.joinSessionKeyring(`_ses.${this.#plan.id}`), { tolerate: 'ENOSYS' });
    }
    if (!(namespaces.needsJoiner && this.#plan.isRoot)) {
      steps.replaceExecutable(child, 'tsrunc init');
    }
    child.add(steps.setUmask(0));

    const root = this.#rootfs(child);
    if (process.terminal === true && fds.console !== undefined) {
      addConsole(child, {
        root,
        socket: fds.console,
        size: process.consoleSize,
        bindsDevConsole: this.#plan.dev !== undefined,
      });
    } else addStdio(child, fds.stdio);
    this.#hooksBeforeRoot(child, root);
    addMasks(child, root, this.#plan.maskedPaths);
    addReadOnlyPaths(child, root, spec.linux?.readonlyPaths ?? []);
    if (this.#plan.usesPivotRoot) addPivotRoot(child, root);
    else addMoveRoot(child, root);
    addOwnNull(child, root, this.#plan.nullStdio);
    this.#finishRoot(child, root);
    this.listener = addIdentity(child, root, identity);
    this.#waitForStart(child);
    const waiting = child.items.length - 1; // this step as well can fail when nobody but start listens
    this.#execute(child);
    collectLabels(child.items.slice(waiting), this.startLabels);
  }

  /** Blocks until the runtime says: go on. End of file means that it is gone. */
  #waitForRuntime(child: Sequence, what: string): void {
    const label = `wait for the runtime: ${what}`;
    const length = child.add(steps.waitForBytes(this.#plan.fds.goOn), { label, retryOn: 'EINTR' });
    child.add(check(label, length, { equals: 1, errno: 'EPIPE' }));
  }

  #becomeRoot(child: Sequence): void {
    this.#waitForRuntime(child, 'id mappings');
    this.#becomeRootOfJoined(child);
  }

  /** In a user namespace this process still has an id that is not mapped. */
  #becomeRootOfJoined(child: Sequence): void {
    child.add(steps.setGid(0));
    const { maySetGroups } = this.#plan.identity;
    if (maySetGroups !== 'no') {
      child.add(steps.setGroups([]), maySetGroups === 'unknown' ? { tolerate: 'EPERM' } : {});
    }
    child.add(steps.setUid(0));
    child.add(steps.setParentDeathSignal('SIGKILL')); // cleared by the change of ids
  }

  #newTime(child: Sequence): void {
    child.add(steps.unshare(['time']));
    this.unsharedTime = child.announce('time namespace', this.#plan.fds.report);
    this.#waitForRuntime(child, 'time offsets');
    const fd = child.add(
      steps.open({
        directory: this.#plan.identity.proc,
        path: 'self/ns/time_for_children',
        flags: ['O_RDONLY'],
      }),
    );
    child.add(steps.joinNamespace(fd, 'time'));
    child.add(steps.close(fd));
  }

  /** Rootfs, mounts, devices; the cgroup is joined when the mounts that show it are due. */
  #rootfs(child: Sequence): Result | number {
    const { mounts, mountContext, cgroupView, devices, dev, fds, namespaces, mayMakeNodes } =
      this.#plan;
    const root = addPrepareRootfs(child, this.#plan.rootfs);
    const context: MountContext = { ...mountContext, root, finally: [] };
    const add = (planned: PlannedMount): void => {
      if (planned.kind === 'cgroup') addCgroupMount(child, planned, cgroupView, context);
      else addMount(child, planned, context);
    };
    for (const planned of mounts.early) add(planned);
    // Late, so that what the runtime did so far is not charged to the container, and by the child
    // itself: one thread that writes 0 to `tasks` moves without the grace period (10 ms) that a
    // whole process, named by its pid, waits for.
    for (const [path, fd] of fds.cgroupTasks) {
      child.add(steps.write(fd, '0'), { label: `join cgroup ${path}` });
    }
    if (namespaces.unsharesCgroup) child.add(steps.unshare(['cgroup']));
    for (const planned of mounts.late) add(planned);
    addDevices(child, root, devices, { mayMakeNodes });
    if (dev !== undefined) addDevSymlinks(child, root, dev);
    for (const finish of context.finally) finish(child);
    return root;
  }

  #hooksBeforeRoot(child: Sequence, root: Result | number): void {
    const { spec, fds } = this.#plan;
    const hooks = spec.hooks ?? {};
    const inside = hooks.createContainer ?? [];
    // Those of startContainer run later, but are told their state now.
    const others = [hooks.prestart, hooks.createRuntime, hooks.startContainer].flat();
    const hasDevices = Object.keys(spec.linux?.netDevices ?? {}).length > 0;
    if ([...inside, ...others].every((hook) => hook === undefined) && !hasDevices) return;
    this.hooksDue = child.announce('hooks due', fds.report);
    this.#waitForRuntime(child, 'hooks');
    if (inside.length === 0) return;
    // Where runc's hooks of this point are too; those of the runtime's namespaces are in the bundle.
    child.add(steps.changeDirectoryToFd(root), { label: 'chdir to the rootfs for hooks' });
    inside.forEach((hook, index) => {
      this.#hook(child, hook, `createContainer[${index}]`);
    });
  }

  #hook(child: Sequence, hook: Parameters<typeof addHook>[1], place: string): void {
    const { hookStreams, fds, identity } = this.#plan;
    const streams = hookStreams.get(place);
    if (streams === undefined) return;
    const isLimited = place.startsWith('startContainer');
    const openFiles = isLimited ? undefined : identity.openFiles;
    const context: HookContext = { streams, report: fds.report, openFiles };
    this.hookEnds.add(addHook(child, hook, `hooks.${place}`, context));
  }

  #finishRoot(child: Sequence, root: Result | number): void {
    const { spec, namespaces, identity, rootfs } = this.#plan;
    const propagation = rootfs.propagation;
    if (propagation !== undefined) {
      for (const step of rootPropagationSteps(propagation)) child.add(step);
    }
    if (namespaces.cloned.includes('network')) steps.bringInterfaceUp(child, 'lo');
    if (spec.hostname !== undefined && spec.hostname !== '') {
      child.add(steps.setHostname(spec.hostname));
    }
    if (spec.domainname !== undefined && spec.domainname !== '') {
      child.add(steps.setDomainname(spec.domainname));
    }
    addSysctls(child, identity.proc, spec.linux?.sysctl ?? {});
    // While it can still be made: images whose cwd is not there run with a read-only root as well.
    addWorkingDirectory(child, root, identity.process.cwd, { create: true });
    if (spec.root.readonly === true) addReadOnlyRoot(child, root);
  }

  #waitForStart(child: Sequence): void {
    const { fds, identity } = this.#plan;
    child.addAll(steps.resetSignals());
    child.add(steps.setParentDeathSignal(undefined));
    this.listener ??= addEarlyFilter(child, identity);
    this.ready = child.announce('ready', fds.report);
    // Until the runtime has written all down, this process ends with it: nobody could start it, or find it.
    this.#waitForRuntime(child, 'end of create');
    // The runtime is gone soon: errors from now on are for the one that starts the container.
    child.add(steps.duplicate(fds.startErrors, fds.report, { closeOnExec: true }));
    child.add(steps.waitForBytes(fds.startFifo), {
      label: 'wait for start',
      retryOn: 'EINTR',
    });
  }

  #execute(child: Sequence): void {
    (this.#plan.spec.hooks?.startContainer ?? []).forEach((hook, index) => {
      this.#hook(child, hook, `startContainer[${index}]`);
    });
    addProgram(child, this.#plan.identity);
  }
}

/** Labels of steps by index, with those of branches and children. */
function collectLabels(items: Sequence['items'], labels: Record<string, string>): void {
  for (const { index, step, options, ifSucceeded, ifTolerated, child } of items) {
    labels[index] = options.label ?? step.label;
    for (const branch of [ifSucceeded, ifTolerated, child?.body]) {
      if (branch !== undefined) collectLabels(branch.items, labels);
    }
  }
}
