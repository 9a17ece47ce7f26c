/**
 * Finds what a shim left running when the daemon does not know its socket: processes that work in
 * the bundle with the arguments of a shim, and their descendants (a runtime in the middle of
 * `create`). This is asked only about bundles that are to be removed, so that a process which
 * imitates a shim endangers nothing but itself.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { kill, openPidfd, Signal, signalPidfd } from '../linux/index.ts';

/** Rounds of looking and killing: a process may have started another while it was looked for. */
const MAX_ROUNDS = 20;

/** Kills every process of the shim for `id` that works in `directory`, with all descendants. */
export async function killShimProcesses(directory: string, id: string): Promise<number> {
  let killed = 0;
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const pids = await shimProcesses(directory, id);
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

/** Pids of the processes that work in `directory` with the argument `-id ID`; zombies are none. */
export async function shimProcesses(directory: string, id: string): Promise<number[]> {
  const pids = await allPids();
  const matches = await Promise.all(
    pids.map(async (pid) => {
      if ((await workingDirectory(pid)) !== directory) return false;
      const args = await argumentsOf(pid);
      return args[args.indexOf('-id') + 1] === id && args.includes('-id');
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

/** The working directory, or undefined when the process is gone or a zombie. */
async function workingDirectory(pid: number): Promise<string | undefined> {
  try {
    return await readlink(`/proc/${pid}/cwd`);
  } catch {
    return undefined; // processes come and go
  }
}

async function argumentsOf(pid: number): Promise<string[]> {
  try {
    return (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
  } catch {
    return []; // gone
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
