/**
 * Attack: a process that is made inside a server inherits the server's descriptors: streams of other
 * containers, sockets, directories of the host (CVE-2024-21626). Close-on-exec does not help against
 * one that waits for `start`: as long as it waits, other containers' pipes do not end.
 *
 * Defence: the first thing a child does is to close all that is not its own.
 */
import { type Sequence, steps } from '../linux/index.ts';

/** Above stdio. */
const FIRST = 3;

/** Closes every fd from 3 on but `own` and the first `preserved` ones. */
export function closeForeignFds(
  sequence: Sequence,
  own: readonly (number | undefined)[],
  preserved: number,
): void {
  const from = FIRST + preserved;
  const kept = new Set(own.filter((fd) => fd !== undefined && fd >= from) as number[]);
  let next = from;
  for (const fd of [...kept].sort((a, b) => a - b)) {
    if (fd > next) sequence.add(steps.closeBetween(next, fd - 1));
    next = fd + 1;
  }
  sequence.add(steps.closeFrom(next, 'now'));
}
