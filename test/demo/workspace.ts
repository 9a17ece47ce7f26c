// A private place for one run: a directory that holds all files and sockets, and a cgroup of the same name. Whatever
// carries that name can be found and removed, by the run itself or, when it was killed, by the next one.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { unmountAll } from '../../internal/linux/index.ts';
import { listeningSockets } from './listening-sockets.ts';
import { liveProcesses } from './process-tree.ts';

const PREFIX = 'tscontainerd-demo-';

/** What was found and removed, for the report. */
export interface Removed {
  processes: number;
  mounts: number;
  cgroups: number;
}

/** Makes the directory; its name holds this process's id, and a file in it when this process began. */
export function createWorkspace(): string {
  const path = join(tmpdir(), `${PREFIX}${process.pid}`);
  mkdirSync(path, { mode: 0o700 });
  writeFileSync(join(path, 'owner'), startTime(process.pid));
  return path;
}

/** The cgroup's name for a workspace: one path component, the same in every hierarchy. */
export function cgroupName(workspace: string): string {
  return workspace.split('/').at(-1) ?? '';
}

/** Workspaces whose run was killed before it could clean up. */
export function abandonedWorkspaces(): string[] {
  return readdirSync(tmpdir())
    .filter((name) => name.startsWith(PREFIX))
    .map((name) => join(tmpdir(), name))
    .filter((path) => {
      const owner = join(path, 'owner');
      const began = startTime(Number(path.slice(path.lastIndexOf('-') + 1)));
      return began === '' || !existsSync(owner) || readFileSync(owner, 'utf8') !== began;
    });
}

/**
 * Ends every process of a workspace and removes the sockets they listened on, unmounts what is mounted in it, removes its cgroups and the directory. Throws an
 * Error that names what could not be removed.
 */
export async function removeWorkspace(path: string): Promise<Removed> {
  const removed: Removed = { processes: await endProcesses(path), mounts: 0, cgroups: 0 };
  for (const mountPoint of mountsBelow(path).reverse()) {
    unmountAll(mountPoint);
    removed.mounts++;
  }
  for (const cgroup of cgroupsOf(path)) {
    await removeCgroup(cgroup);
    removed.cgroups++;
  }
  rmSync(path, { recursive: true, force: true });
  return removed;
}

/** What a workspace has on the machine now, besides its directory; empty lists when it is clean. */
export function traces(path: string): { processes: number[]; mounts: string[]; cgroups: string[] } {
  return { processes: processesOf(path), mounts: mountsBelow(path), cgroups: cgroupsOf(path) };
}

async function endProcesses(path: string): Promise<number> {
  const seen = new Set<number>();
  const sockets = new Set<string>();
  const deadline = performance.now() + 10_000;
  for (let nothing = 0; ; ) {
    const pids = processesOf(path);
    nothing = pids.length === 0 ? nothing + 1 : 0;
    // A process has no arguments for a moment of its execve: one look can miss it.
    if (nothing === 3) {
      for (const socket of sockets) rmSync(socket, { force: true });
      return seen.size;
    }
    if (performance.now() > deadline) throw new Error(`end processes of ${path}: ${pids} live on`);
    for (const pid of pids) {
      if (!seen.has(pid)) for (const socket of listeningSockets(pid)) sockets.add(socket);
      seen.add(pid);
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself meanwhile.
      }
    }
    await delay(20);
  }
}

function processesOf(path: string): number[] {
  const byName = liveProcesses()
    .filter(({ pid, arguments: args }) => {
      return pid !== process.pid && args.some((arg) => arg.includes(`${path}/`) || arg === path);
    })
    .map(({ pid }) => pid);
  const inCgroup = cgroupsOf(path).flatMap((directory) => {
    const text = unlessGone(() => readFileSync(join(directory, 'cgroup.procs'), 'utf8'), '');
    return text.split('\n').filter((line) => line !== '');
  });
  return [...new Set([...byName, ...inCgroup.map(Number)])].filter((pid) => pid > 0);
}

function mountsBelow(path: string): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((mountPoint) => mountPoint.startsWith(`${path}/`));
}

/** The workspace's cgroups in all hierarchies, inner ones first. */
function cgroupsOf(path: string): string[] {
  const name = cgroupName(path);
  const roots = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => / - cgroup2? /.test(line))
    .map((line) => line.split(' ')[4] ?? '');
  return roots
    .map((root) => join(root, name))
    .filter((directory) => existsSync(directory))
    .flatMap(innerFirst);
}

function innerFirst(directory: string): string[] {
  const inner = unlessGone(() => readdirSync(directory, { withFileTypes: true }), [])
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => join(directory, name));
  return [...inner.flatMap(innerFirst), directory];
}

/** A runtime may remove its cgroup while it is being read. */
function unlessGone<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch (error) {
    if (['ENOENT', 'ENODEV'].includes((error as NodeJS.ErrnoException).code ?? ''))
      return otherwise;
    throw error;
  }
}

/** The kernel refuses to remove a cgroup for a moment after its last process has ended. */
async function removeCgroup(directory: string): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (existsSync(directory)) {
    try {
      rmdirSync(directory);
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await delay(20);
    }
  }
}

/** When a process began, in ticks since boot (field 22 of /proc/PID/stat); empty when there is none. */
function startTime(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
  } catch {
    return '';
  }
}
