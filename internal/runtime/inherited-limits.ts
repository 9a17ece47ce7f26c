import { readFileSync, readlinkSync } from 'node:fs';
import { getResourceLimit } from '../linux/index.ts';
import { readProcessStat } from './process-stat.ts';

/** Programs that run on Node, which raises its soft RLIMIT_NOFILE to the hard one. */
const NODE_PROGRAMS = /^(node|tsrunc|tscontainerd|containerd-shim-tsrunc-v2)( \(deleted\))?$/;

const GREATEST_DEPTH = 16;
const USUAL_SOFT_LIMIT = 1024n;

/**
 * The open-files limit as the caller of this process had it: the soft limit of the nearest ancestor
 * that does not run on Node, since the one of this process is gone when JavaScript starts.
 */
export function inheritedOpenFiles(): { soft: bigint; hard: bigint } {
  const { hard } = getResourceLimit(0, 'RLIMIT_NOFILE');
  const soft = ancestorSoftLimit(process.ppid) ?? USUAL_SOFT_LIMIT;
  return { soft: soft < hard ? soft : hard, hard };
}

function ancestorSoftLimit(parent: number): bigint | undefined {
  let pid = parent;
  for (let depth = 0; depth < GREATEST_DEPTH && pid > 0; depth++) {
    if (!runsOnNode(pid)) return softLimit(pid);
    pid = readProcessStat(pid)?.parent ?? 0;
  }
  return undefined;
}

function runsOnNode(pid: number): boolean {
  try {
    const executable = readlinkSync(`/proc/${pid}/exe`);
    return NODE_PROGRAMS.test(executable.slice(executable.lastIndexOf('/') + 1));
  } catch {
    return false; // another user's process: no program of ours
  }
}

function softLimit(pid: number): bigint | undefined {
  try {
    const limits = readFileSync(`/proc/${pid}/limits`, 'latin1');
    return parseOpenFiles(limits);
  } catch {
    return undefined; // gone meanwhile
  }
}

/** The soft limit of the line `Max open files  1024  524288  files`. */
export function parseOpenFiles(limits: string): bigint | undefined {
  const soft = /^Max open files\s+(\d+|unlimited)/m.exec(limits)?.[1];
  if (soft === undefined) return undefined;
  return soft === 'unlimited' ? 0xffffffffffffffffn : BigInt(soft);
}
