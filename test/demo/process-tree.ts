// Processes as /proc shows them.
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** A live process. */
export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  /** The file name of its program, or its own name when that cannot be read. */
  readonly program: string;
  readonly arguments: readonly string[];
}

/** All processes that have not ended; zombies, which only wait to be collected, are left out. */
export function liveProcesses(): ProcessInfo[] {
  const found: ProcessInfo[] = [];
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const info = processInfo(Number(name));
    if (info !== undefined) found.push(info);
  }
  return found;
}

/** One process; undefined when it has ended. */
export function processInfo(pid: number): ProcessInfo | undefined {
  try {
    // The name is in brackets and may hold anything, brackets too; state and parent follow the last one.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    if (state === 'Z' || state === 'X') return undefined;
    const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    return { pid, parent: Number(parent), program: programName(pid, stat), arguments: argv };
  } catch {
    // It ended while it was being read.
    return undefined;
  }
}

/** The children of `pid` and theirs, each with its depth below it. */
export function descendants(
  pid: number,
  all: readonly ProcessInfo[] = liveProcesses(),
  depth = 1,
): { process: ProcessInfo; depth: number }[] {
  return all
    .filter((process) => process.parent === pid)
    .flatMap((process) => [{ process, depth }, ...descendants(process.pid, all, depth + 1)]);
}

function programName(pid: number, stat: string): string {
  try {
    return (
      readlinkSync(`/proc/${pid}/exe`)
        .replace(/ \(deleted\)$/, '')
        .split('/')
        .at(-1) ?? ''
    );
  } catch {
    return stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
  }
}
