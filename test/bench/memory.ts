// Memory of idle processes, as the kernel accounts for it: PSS divides what is shared among those who share it, private
// memory is what would be freed if the process ended.
import { readFileSync } from 'node:fs';

/** Kilobytes. */
export interface Memory {
  readonly pssKb: number;
  readonly privateKb: number;
  /** The part of it that the kernel could not simply drop and read again. */
  readonly dirtyKb: number;
  readonly threads: number;
}

/** Reads a live process's memory. */
export function memoryOf(pid: number): Memory {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const field = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(rollup)?.[1]);
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    pssKb: field('Pss'),
    privateKb: field('Private_Clean') + field('Private_Dirty'),
    dirtyKb: field('Private_Dirty'),
    threads: Number(/^Threads:\s+(\d+)/m.exec(status)?.[1]),
  };
}
