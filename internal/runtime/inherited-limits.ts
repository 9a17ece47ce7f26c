import { readlinkSync } from 'node:fs';
import { getResourceLimit } from '../linux/index.ts';
import { readProcessStat } from './process-stat.ts';

/** Programs that run on Node, which raises its soft RLIMIT_NOFILE to the hard one. */
const NODE_PROGRAMS = /^(node|tsrunc|tscontainerd|containerd-shim-tsrunc-v2)( \(deleted\))?$/;

/** Looked for once: a process that lives on may get another parent. */
let inherited: bigint | undefined;

const GREATEST_DEPTH = 16;
const USUAL_SOFT_LIMIT = 1024n;

/**
 * The open-files limit as the caller of this process had it: the soft limit of the nearest ancestor
 * that does not run on Node, since the one of this process is gone when JavaScript starts.
 */
export function inheritedOpenFiles(): { soft: bigint; hard: bigint } {
  const { hard } = getResourceLimit(0, 'RLIMIT_NOFILE');
  inherited ??= ancestorSoftLimit(process.ppid) ?? USUAL_SOFT_LIMIT;
  const soft = inherited;
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
    return getResourceLimit(pid, 'RLIMIT_NOFILE').soft;
  } catch {
    return undefined; // gone meanwhile, or another user's
  }
}
