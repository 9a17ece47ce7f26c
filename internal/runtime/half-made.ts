/**
 * What is left of a container that has no state, or none that can be read.
 *
 * A create that was killed before it wrote the state leaves a cgroup, and perhaps the container's process, which may not have
 * noticed and waits for a start that nobody can order.
 */
import { readdirSync, readFileSync, type Stats, statSync } from 'node:fs';
import { posix } from 'node:path';
import {
  type CgroupHost,
  type CgroupManager,
  detectCgroupHost,
  openCgroup,
} from '../cgroups/index.ts';
import { isErrno, TsError } from '../errors/index.ts';
import { kill, type Operation } from '../linux/index.ts';
import { parseSpec } from '../oci/index.ts';
import { readConfigCopy } from './config-copy.ts';
import { cgroupOf } from './container-cgroup.ts';
import { EXEC_FIFO, STATE_FILE } from './container-state.ts';
import { removeLeftIntelRdt } from './intel-rdt.ts';
import { isAlive } from './process-stat.ts';
import type { RuntimeOptions } from './runtime-options.ts';
import { statePath } from './state-directory.ts';

const SIGKILL = 9;
/** How often the process is looked for: it may come into the cgroup later, and take its time to die. */
const ATTEMPTS = 10;
const ATTEMPT_MS = 500;

/**
 * Removes both. Processes that are not the container's are not harmed: they were in the cgroup before,
 * and the create had not got past them.
 */
export function* removeHalfMade(options: RuntimeOptions, id: string): Operation<void> {
  const config = readConfigCopy(options, id);
  if (config === undefined || options.systemdCgroup === true) return; // systemd ends an empty scope
  try {
    const spec = parseSpec(config);
    const cgroup = cgroupOf(options, id, spec);
    for (let attempt = 1; cgroup.exists(); attempt++) {
      killWaiting(cgroup, statePath(options.root, id, EXEC_FIFO));
      try {
        yield* cgroup.remove(ATTEMPT_MS);
      } catch (thrown) {
        if (attempt === ATTEMPTS) throw thrown;
      }
    }
    removeLeftIntelRdt(options, id, spec);
  } catch (thrown) {
    options.debug(TsError.from(thrown).message);
  }
}

/**
 * Ends the processes of a container whose state is cut, or was written by another runtime, and removes its cgroup and its
 * group of resctrl. The cgroup is where the state says, as far as it can be read, or where the copy of the configuration
 * says; the other is where the configuration says.
 */
export function* removeUnreadable(options: RuntimeOptions, id: string): Operation<void> {
  const remains = remainsOf(statePath(options.root, id, STATE_FILE));
  const host = detectCgroupHost();
  const paths = Object.entries(remains?.cgroupPaths ?? {}).filter(([, path]) =>
    isBelow(host, path),
  );
  if (remains !== undefined && isAlive(remains.pid, remains.startTime)) kill(remains.pid, SIGKILL);
  const config = readConfigCopy(options, id);
  let cgroup: CgroupManager | undefined;
  if (paths.length > 0) cgroup = openCgroup(Object.fromEntries(paths));
  else if (config !== undefined && options.systemdCgroup !== true) {
    cgroup = cgroupOf(options, id, parseSpec(config), host);
  }
  if (cgroup?.exists() === true) {
    if (cgroup.allPids().length > 0) yield* cgroup.kill();
    yield* cgroup.remove();
  }
  if (config?.includes('"intelRdt"') === true) removeLeftIntelRdt(options, id, parseSpec(config));
}

interface Remains {
  readonly pid: number;
  readonly startTime: number;
  readonly cgroupPaths: Readonly<Record<string, string>>;
}

/** What runc's state and ours have in common; undefined if the file is no JSON. */
function remainsOf(path: string): Remains | undefined {
  let json: Record<string, unknown>;
  try {
    json = JSON.parse(readFileSync(path, 'utf8')) ?? {};
  } catch {
    return undefined; // it is cut, and the configuration may say more
  }
  const { init_process_pid: pid, init_process_start: startTime, cgroup_paths: paths } = json;
  const cgroupPaths = Object.entries(typeof paths === 'object' && paths !== null ? paths : {});
  return {
    pid: typeof pid === 'number' ? pid : 0,
    startTime: typeof startTime === 'number' ? startTime : 0,
    cgroupPaths: Object.fromEntries(cgroupPaths.filter(([, each]) => typeof each === 'string')),
  };
}

/** Never a hierarchy as a whole, nor what is none: what cannot be read must not lead anywhere. */
function isBelow({ hierarchies }: CgroupHost, path: string): boolean {
  if (posix.normalize(path) !== path) return false;
  return hierarchies.some(({ mountPoint }) => path.startsWith(`${mountPoint}/`));
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
