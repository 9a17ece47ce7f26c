import { badLimit } from './limit-writer.ts';

/** The spec's limits have the scales of cgroup v1; here they get those of v2, as with runc 1.3. */

/**
 * cpu.weight for cpu.shares: 2 to 262144 become 1 to 10000 and the default, 1024, the default, 100, on
 * a quadratic curve of the logarithms (opencontainers/cgroups pull request 20). What is outside
 * of the range becomes its end.
 */
export function cpuWeight(shares: bigint): number {
  if (shares <= 2n) return 1;
  if (shares >= 262144n) return 10000;
  const log = Math.log2(Number(shares));
  return Math.ceil(10 ** ((log * log + 125 * log) / 612 - 7 / 34));
}

/** io.weight for blkio.weight: 10 to 1000 become 1 to 10000 on a straight line. */
export function ioWeight(weight: number): number {
  return 1 + Math.floor(((weight - 10) * 9999) / 990);
}

/**
 * memory.swap.max for a limit of memory and swap together; undefined leaves it alone. Zero is not
 * given, -1 unlimited.
 */
export function swapLimit(memoryAndSwap: bigint, memory: bigint): bigint | 'max' | undefined {
  if (memoryAndSwap === -1n) return 'max';
  // On v1 unlimited memory implies unlimited swap.
  if (memoryAndSwap === 0n) return memory === -1n ? 'max' : undefined;
  if (memory === 0n) throw badLimit('memory.swap', 'cannot be set without memory.limit');
  if (memory === -1n) throw badLimit('memory.swap', 'cannot be set with an unlimited memory.limit');
  if (memoryAndSwap < memory) {
    throw badLimit(
      'memory.swap',
      `${memoryAndSwap} is memory and swap together and below limit, ${memory}`,
    );
  }
  return memoryAndSwap - memory;
}
