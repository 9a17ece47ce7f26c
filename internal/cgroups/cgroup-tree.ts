import { posix } from 'node:path';
import { TsError } from '../errors/index.ts';
import type { Operation } from '../linux/index.ts';
import type { CgroupFiles } from './cgroup-files.ts';
import { waitUntil } from './wait-until.ts';

/** What is the same in every hierarchy: directories, and the processes in them. */

/**
 * Makes a cgroup and its missing parents. What it made is added to `made`, parents first, also when
 * it throws. False if the cgroup was there.
 */
export function makeCgroup(files: CgroupFiles, directory: string, made: string[]): boolean {
  try {
    if (!files.makeDirectory(directory)) return false;
  } catch (thrown) {
    const parent = posix.dirname(directory);
    if (!hasErrno(thrown, 'ENOENT') || parent === directory) throw thrown;
    makeCgroup(files, parent, made);
    if (!files.makeDirectory(directory)) return false; // another process was faster
  }
  made.push(directory);
  return true;
}

/** Undoes {@link makeCgroup}. What cannot be removed is told in `error.cleanup`. */
export function unmakeCgroups(files: CgroupFiles, made: readonly string[], error: TsError): void {
  for (const directory of [...made].reverse()) {
    try {
      files.removeDirectory(directory);
    } catch (thrown) {
      error.cleanup.push(TsError.from(thrown));
    }
  }
}

/** Removes empty cgroups, parents last; one that others use by now stays. */
export function removeUnused(files: CgroupFiles, made: readonly string[]): void {
  for (const directory of [...made].reverse()) {
    try {
      files.removeDirectory(directory);
    } catch (thrown) {
      if (!hasErrno(thrown, 'EBUSY', 'ENOTEMPTY')) throw thrown;
    }
  }
}

/** The processes of a cgroup; none if it is gone or has only threads. */
export function cgroupPids(files: CgroupFiles, directory: string): number[] {
  const text = files.tryRead(`${directory}/cgroup.procs`);
  if (text === undefined || text === '') return [];
  const pids = text.split('\n').map(Number);
  return pids.filter((pid) => pid > 0); // 0 is a process outside of our pid namespace
}

/** The processes of a cgroup and of those below. */
export function cgroupTreePids(files: CgroupFiles, directory: string): number[] {
  const pids = cgroupPids(files, directory);
  for (const name of files.subdirectories(directory)) {
    pids.push(...cgroupTreePids(files, `${directory}/${name}`));
  }
  return pids;
}

/**
 * Removes a cgroup and those below. Dying processes keep it busy for a moment: waits for them.
 *
 * Throws FailedPrecondition with the processes that are still there after the deadline.
 */
export function* removeCgroup(
  files: CgroupFiles,
  directory: string,
  deadlineMs: number,
): Operation<void> {
  let failure: TsError | undefined;
  const isRemoved = yield* waitUntil(() => {
    try {
      removeTree(files, directory);
      return true;
    } catch (thrown) {
      if (!hasErrno(thrown, 'EBUSY', 'ENOTEMPTY')) throw thrown;
      failure = TsError.from(thrown);
      return false;
    }
  }, deadlineMs);
  if (isRemoved || failure === undefined) return;
  const pids = cgroupTreePids(files, directory);
  throw new TsError('FailedPrecondition', failure.message, {
    code: 'TS_CGROUP_BUSY',
    cause: failure,
    fields: { ...failure.fields, path: directory, pids: pids.join(' ') },
    advice:
      pids.length === 0
        ? `run "rmdir ${directory}" when nothing uses it any more`
        : `end its processes (${pids.slice(0, 10).join(', ')}) and delete again`,
  });
}

function removeTree(files: CgroupFiles, directory: string): void {
  try {
    files.removeDirectory(directory);
    return;
  } catch (thrown) {
    if (!hasErrno(thrown, 'EBUSY', 'ENOTEMPTY')) throw thrown;
  }
  // The kernel keeps the root of a hierarchy, as it does what is in use; what is below it is not for us.
  refuseRootCgroup(files, directory, 'remove');
  for (const name of files.subdirectories(directory)) removeTree(files, `${directory}/${name}`);
  files.removeDirectory(directory);
}

/**
 * Whether a cgroup is the root of a hierarchy: that of a process that was never put into one, as
 * /proc tells it.
 */
export function isRootCgroup(files: CgroupFiles, directory: string): boolean {
  // Files that the kernel gives only to the root of v1, and to every cgroup of v2 but the root.
  return (
    files.exists(`${directory}/cgroup.sane_behavior`) ||
    (files.exists(`${directory}/cgroup.controllers`) && !files.exists(`${directory}/cgroup.events`))
  );
}

/** Refuses what would hit every process of the machine. */
export function refuseRootCgroup(files: CgroupFiles, directory: string, operation: string): void {
  if (!isRootCgroup(files, directory)) return;
  throw new TsError(
    'FailedPrecondition',
    `${operation} ${directory}: it is the root of all cgroups`,
    {
      code: 'TS_CGROUP_PATH_IS_ROOT',
      fields: { path: directory },
    },
  );
}

/**
 * A container in a cgroup with foreign processes would limit, freeze and kill them too. `holder` is
 * a process of ours that may be inside.
 */
export function refuseBusyCgroup(files: CgroupFiles, directory: string, holder?: number): void {
  const pids = cgroupTreePids(files, directory).filter((pid) => pid !== holder);
  if (pids.length === 0) return;
  throw new TsError(
    'FailedPrecondition',
    `the container's cgroup ${directory} is not empty: ${pids.length} process(es) found`,
    {
      code: 'TS_CGROUP_NOT_EMPTY',
      advice: `end them (${pids.slice(0, 10).join(', ')}) or choose another linux.cgroupsPath`,
      fields: { path: directory },
    },
  );
}

/** Moves a process into a cgroup. */
export function* joinCgroup(files: CgroupFiles, directory: string, pid: number): Operation<void> {
  const file = `${directory}/cgroup.procs`;
  let failure: unknown;
  // EINVAL may mean that the clone of the process is not quite done.
  const isIn = yield* waitUntil(() => {
    try {
      files.write(file, String(pid));
      return true;
    } catch (thrown) {
      if (!hasErrno(thrown, 'EINVAL')) throw thrown;
      failure = thrown;
      return false;
    }
  }, JOIN_DEADLINE_MS);
  if (!isIn) throw failure;
}

const JOIN_DEADLINE_MS = 100;

/** Sends a signal to processes; those that are gone do not matter. */
export function signalProcesses(pids: readonly number[], signal: number): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch (thrown) {
      const error = TsError.from(thrown, `send signal ${signal} to process ${pid}`);
      if (error.fields['errno'] !== 'ESRCH') throw error;
    }
  }
}

export function hasErrno(thrown: unknown, ...errnos: string[]): boolean {
  return thrown instanceof TsError && errnos.includes(String(thrown.fields['errno']));
}
