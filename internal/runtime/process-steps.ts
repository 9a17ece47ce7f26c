import { TsError } from '../errors/index.ts';
import {
  type IoPriorityClass,
  type ResourceLimit,
  type SchedulerFlag,
  type SchedulerPolicy,
  type Sequence,
  steps,
  type Value,
} from '../linux/index.ts';
import type { Process, Rlimit } from '../oci/index.ts';
import { ensureDirectory, normalizePath, openStep } from './in-root.ts';

/** Resource limits; the soft RLIMIT_NOFILE that Node raised is put back unless the process has one. */
export function addResourceLimits(
  sequence: Sequence,
  rlimits: readonly Rlimit[],
  openFiles: { soft: bigint; hard: bigint },
): void {
  const names = new Set(rlimits.map(({ type }) => type));
  if (!names.has('RLIMIT_NOFILE')) {
    sequence.add(steps.setResourceLimit('RLIMIT_NOFILE', openFiles.soft, openFiles.hard));
  }
  for (const { type, soft, hard } of rlimits) {
    sequence.add(steps.setResourceLimit(type as ResourceLimit, soft, hard));
  }
}

/** Scheduler and I/O priority, which may need privileges: before they are dropped. */
export function addScheduling(sequence: Sequence, process: Process): void {
  const { scheduler, ioPriority } = process;
  if (scheduler !== undefined) {
    sequence.add(
      steps.setScheduler({
        policy: scheduler.policy as SchedulerPolicy,
        flags: (scheduler.flags ?? []) as SchedulerFlag[],
        ...(scheduler.nice === undefined ? {} : { nice: scheduler.nice }),
        ...(scheduler.priority === undefined ? {} : { priority: scheduler.priority }),
        ...(scheduler.runtime === undefined ? {} : { runtimeNs: scheduler.runtime }),
        ...(scheduler.deadline === undefined ? {} : { deadlineNs: scheduler.deadline }),
        ...(scheduler.period === undefined ? {} : { periodNs: scheduler.period }),
      }),
    );
  }
  if (ioPriority !== undefined) {
    sequence.add(steps.setIoPriority(ioPriority.class as IoPriorityClass, ioPriority.priority));
  }
}

/**
 * Attack: a working directory of /proc/self/fd/N leads out by an fd that the runtime left open
 * (CVE-2024-21626). Defence: the directory is opened below the root, where magic links are refused,
 * and entered by that fd.
 * It is entered with the runtime's privileges, not yet the user's.
 */
export function addWorkingDirectory(
  sequence: Sequence,
  root: Value,
  cwd: string,
  { create }: { create: boolean },
): void {
  const path = normalizePath(cwd);
  const label = `chdir to cwd ${cwd}`;
  if (create) {
    const made = ensureDirectory(sequence, root, path, { purpose: 'make cwd' });
    sequence.add(steps.changeDirectoryToFd(made), { label });
    sequence.add(steps.close(made));
    return;
  }
  const directory = sequence.add(openStep(root, path, ['O_PATH', 'O_DIRECTORY']), { label });
  sequence.add(steps.changeDirectoryToFd(directory), { label });
  sequence.add(steps.close(directory));
}

/** stdin, stdout and stderr of the container's process: the runtime's own, or fds above 2. */
export type Stdio = readonly [stdin: number, stdout: number, stderr: number];

const STDIO_NAMES = ['stdin', 'stdout', 'stderr'];

/** Gives the process its stdio; Node has marked its own fds close-on-exec. */
export function addStdio(sequence: Sequence, stdio: Stdio): void {
  stdio.forEach((fd, target) => {
    const label = `set up ${STDIO_NAMES[target]}`;
    if (fd === target) sequence.add(steps.setCloseOnExec(target, false), { label });
    else if (fd > 2) sequence.add(steps.duplicate(fd, target), { label });
    else throw new TsError('Internal', `internal error: ${label} from fd ${fd}`);
  });
}

/**
 * Puts the container's own /dev/null in the place of the host's, as runc does: a checkpoint cannot
 * save a file that is open on a mount which the container does not have.
 */
export function addOwnNull(sequence: Sequence, root: Value, targets: readonly number[]): void {
  if (targets.length === 0) return;
  const path = '/dev/null';
  const label = `open ${path} for stdio`;
  const own = sequence.add(openStep(root, path, ['O_RDWR', 'O_NOCTTY']), { label });
  steps.checkDevice(sequence, own, { type: 'S_IFCHR', major: 1, minor: 3 }, path);
  for (const target of targets) sequence.add(steps.duplicate(own, target));
  sequence.add(steps.close(own));
}

/**
 * Makes the user the owner of stdio, so that it can be opened anew by /dev/stdout. What cannot be
 * changed (a read-only file system, a pipe of an id that is not mapped) stays.
 */
export function addStdioOwner(sequence: Sequence, fds: readonly number[], uid: number): void {
  for (const fd of fds) {
    sequence.add(steps.chown({ directory: fd, uid, gid: KEEP_GROUP }), {
      label: `change the owner of ${STDIO_NAMES[fd]}`,
      tolerate: ['EINVAL', 'EPERM', 'EROFS', 'EACCES'],
    });
  }
}

/** chown(2): -1 leaves the group as it is. */
const KEEP_GROUP = -1;
