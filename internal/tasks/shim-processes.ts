/**
 * Finds what a shim left running when the daemon does not know its socket: the program's processes
 * that work in the bundle, and their descendants (a runtime in the middle of `create`). Both the
 * program and the working directory must fit: neither is in the power of a container.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { kill, openPidfd, Signal, signalPidfd } from '../linux/index.ts';

/** Rounds of looking and killing: a process may have started another while it was looked for. */
const MAX_ROUNDS = 20;

/** Kills every process of `binary` that works in `directory`, with all descendants. */
export async function killShimProcesses(binary: string, directory: string): Promise<number> {
  let killed = 0;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const pids = await shimProcesses(binary, directory);
    if (pids.length === 0) break;
    // Stopped first, so that none starts another while the rest are killed.
    for (const pid of pids) kill(pid, Signal.SIGSTOP);
    for (const pid of await withDescendants(pids)) {
      using pidfd = openPidfd(pid);
      if (pidfd !== undefined && signalPidfd(pidfd, Signal.SIGKILL)) killed += 1;
    }
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return killed;
}

/** Pids of the processes of `binary` whose working directory is `directory`; zombies are none. */
export async function shimProcesses(binary: string, directory: string): Promise<number[]> {
  const pids = await allPids();
  const matches = await Promise.all(
    pids.map(async (pid) => {
      if ((await link(pid, 'cwd')) !== directory) return false;
      return (await link(pid, 'exe')) === binary;
    }),
  );
  return pids.filter((_pid, index) => matches[index]);
}

async function withDescendants(roots: readonly number[]): Promise<number[]> {
  const children = new Map<number, number[]>();
  for (const pid of await allPids()) {
    const parent = await parentOf(pid);
    if (parent === undefined) continue;
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [pid]);
    else siblings.push(pid);
  }
  const found = new Set<number>();
  const visit = (pid: number): void => {
    if (found.has(pid)) return;
    found.add(pid);
    for (const child of children.get(pid) ?? []) visit(child);
  };
  roots.forEach(visit);
  return [...found];
}

async function allPids(): Promise<number[]> {
  return (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
}

/** Target of a link below /proc/PID, or undefined when the process is gone or a zombie. */
async function link(pid: number, name: string): Promise<string | undefined> {
  try {
    return await readlink(`/proc/${pid}/${name}`);
  } catch {
    return undefined; // processes come and go
  }
}

async function parentOf(pid: number): Promise<number | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
    // The name in parentheses may hold anything; the parent is the second field behind it.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
  } catch {
    return undefined; // gone
  }
}
