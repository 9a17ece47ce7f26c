/**
 * What a create leaves that was killed before it wrote the container's state: a cgroup, and perhaps the
 * container's process, which may not have noticed and waits for a start that nobody can order.
 */
import { readdirSync, readFileSync, type Stats, statSync } from 'node:fs';
import type { CgroupManager } from '../cgroups/index.ts';
import { isErrno, TsError } from '../errors/index.ts';
import { kill, type Operation } from '../linux/index.ts';
import { parseSpec } from '../oci/index.ts';
import { cgroupOf } from './container-cgroup.ts';
import { CONFIG_COPY, EXEC_FIFO } from './container-state.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { statePath } from './state-directory.ts';

const SIGKILL = 9;
/** How often the process may come into the cgroup after it was looked for there. */
const ATTEMPTS = 3;
const ATTEMPT_MS = 500;

/**
 * Removes both. Processes that are not the container's are not harmed: they were in the cgroup before,
 * and the create had not got past them.
 */
export function* removeHalfMade(options: RuntimeOptions, id: string): Operation<void> {
  const config = readConfigCopy(options, id);
  if (config === undefined || options.systemdCgroup === true) return; // systemd ends an empty scope
  try {
    const cgroup = cgroupOf(options, id, parseSpec(config));
    for (let attempt = 1; cgroup.exists(); attempt++) {
      killWaiting(cgroup, statePath(options.root, id, EXEC_FIFO));
      try {
        yield* cgroup.remove(ATTEMPT_MS);
      } catch (thrown) {
        if (attempt === ATTEMPTS) throw thrown;
      }
    }
  } catch (thrown) {
    options.debug(TsError.from(thrown).message);
  }
}

/** The copy of config.json in the state directory; undefined if there is none. */
export function readConfigCopy(options: RuntimeOptions, id: string): Buffer | undefined {
  try {
    return readFileSync(statePath(options.root, id, CONFIG_COPY));
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT')) return undefined;
    throw thrown;
  }
}

/** Kills the processes of the cgroup that have the container's fifo open. */
function killWaiting(cgroup: CgroupManager, path: string): void {
  const fifo = statIfThere(path);
  if (fifo === undefined) return; // the create was killed before it made a process
  for (const pid of cgroup.allPids()) {
    if (hasOpen(pid, fifo)) kill(pid, SIGKILL);
  }
}

function hasOpen(pid: number, { dev, ino }: Stats): boolean {
  const directory = `/proc/${pid}/fd`;
  try {
    return readdirSync(directory).some((fd) => {
      const open = statIfThere(`${directory}/${fd}`);
      return open?.dev === dev && open.ino === ino;
    });
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT') || isErrno(thrown, 'ESRCH')) return false; // it has ended
    throw thrown;
  }
}

function statIfThere(path: string): Stats | undefined {
  return statSync(path, { throwIfNoEntry: false });
}
