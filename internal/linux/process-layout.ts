import { readFileSync } from 'node:fs';
import { rawSyscall } from './syscall.ts';

/** Where the parts of this process lie, as the kernel keeps it (struct mm_struct). Addresses. */
export interface ProcessLayout {
  readonly startCode: bigint;
  readonly endCode: bigint;
  readonly startData: bigint;
  readonly endData: bigint;
  readonly startBreak: bigint;
  readonly startStack: bigint;
}

let layout: ProcessLayout | undefined;

/** Read once: none of it changes while a process runs. */
export function processLayout(): ProcessLayout {
  layout ??= readLayout();
  return layout;
}

/** The end of the heap of malloc (man 2 brk), now. */
export function currentBreak(): number {
  return rawSyscall('brk', 0);
}

function readLayout(): ProcessLayout {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const field = (number: number) => BigInt(fields[number - 3] ?? 0); // as man 5 proc_pid_stat counts
  return {
    startCode: field(26),
    endCode: field(27),
    startData: field(45),
    endData: field(46),
    startBreak: field(47),
    startStack: field(28),
  };
}
