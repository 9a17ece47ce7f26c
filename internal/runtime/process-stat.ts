import { readFileSync } from 'node:fs';
import { isErrno } from '../errors/index.ts';

/** What /proc/PID/stat tells about a process (man 5 proc). */
export interface ProcessStat {
  /** One letter: R, S, D, Z, X, … */
  readonly state: string;
  readonly parent: number;
  /** Clock ticks after boot; together with the pid it names a process uniquely. */
  readonly startTime: number;
}

/** The process's stat, or undefined if there is none with that pid. */
export function readProcessStat(pid: number): ProcessStat | undefined {
  try {
    return parseProcessStat(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch (thrown) {
    if (isErrno(thrown, 'ENOENT', 'ESRCH')) return undefined;
    throw thrown;
  }
}

/** The name may hold blanks and parentheses, so fields are counted from the last `)`. */
export function parseProcessStat(text: string): ProcessStat {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return {
    state: fields[0] ?? '',
    parent: Number(fields[1]),
    startTime: Number(fields[19]),
  };
}

/** The pid that a process has in the pid namespace it is in itself: the last number of NSpid (man 5 proc). */
export function pidSeenInside(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const start = status.indexOf('\nNSpid:');
  const end = status.indexOf('\n', start + 1);
  return Number(status.slice(status.lastIndexOf('\t', end) + 1, end));
}

/** Whether `pid` is still the process that started at `startTime` and has not ended. */
export function isAlive(pid: number, startTime: number): boolean {
  const stat = readProcessStat(pid);
  return (
    stat !== undefined && stat.startTime === startTime && stat.state !== 'Z' && stat.state !== 'X'
  );
}
