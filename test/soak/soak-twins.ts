// Random bundles under runc and under tsrunc: both make the container and the probe in it tells the same, or both refuse to.
import { AssertionError } from 'node:assert/strict';
import { removeEmptyCgroup } from '../fixtures/namespace-traces.ts';
import { prepareRoot, RANDOM_CGROUP, randomChanges } from '../fixtures/random-bundles.ts';
import type { RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { PROBE, Twins } from '../fixtures/twins.ts';

export interface TwinsSoak {
  readonly pairs: number;
  /** The seed of the first bundle; each has the next one. */
  readonly seed: number;
  readonly onProgress?: (line: string) => void;
}

/** What the container's cgroups are limited to, of what it sees of cgroup v1; nothing on v2, where it sees its own directory. */
const LIMITS = `
say "cgroup limits"; cd /sys/fs/cgroup 2>/dev/null && for f in memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes \\
  memory/memory.soft_limit_in_bytes memory/memory.swappiness cpu/cpu.shares cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us \\
  cpu/cpu.cfs_burst_us cpu/cpu.idle cpuset/cpuset.cpus cpuset/cpuset.mems pids/pids.max devices/devices.list \\
  blkio/blkio.bfq.weight blkio/blkio.throttle.read_bps_device; do sed "s|^|$f |" $f 2>/dev/null; done
`;

/** The differences that were found, each with its seed: none when all is well. */
export function soakTwins({ pairs, seed: first, onProgress }: TwinsSoak): string[] {
  using twins = new Twins();
  const found: string[] = [];
  for (let seed = first; seed < first + pairs; seed++) {
    const [ours, theirs] = twins.both.map((runtime) => runOne(twins, runtime, seed)) as [One, One];
    const difference = compare(twins, ours, theirs);
    if (difference !== undefined) found.push(`seed ${seed} (${ours.changes}): ${difference}`);
    const count = seed - first + 1;
    if (count % 50 === 0) onProgress?.(`${count} pairs, ${found.length} differ`);
  }
  removeEmptyCgroup(RANDOM_CGROUP);
  return found;
}

interface One {
  readonly changes: string;
  readonly output: string;
  readonly status: number | null;
  /** Why there was no container, or ''. */
  readonly error: string;
  readonly leftovers: readonly string[];
}

function runOne(twins: Twins, runtime: RuntimeFixture, seed: number): One {
  prepareRoot(runtime);
  twins.addPrograms(runtime);
  const changes = randomChanges(new SeededRandom(seed));
  const id = runtime.newId();
  runtime.configure((config) => {
    config.process.args = ['/bin/sh', '-c', PROBE + LIMITS];
    for (const change of changes) change.apply(config, runtime);
  });
  const { stdout, status, error } = runtime.run(['run', id]);
  return {
    changes: changes.map(({ what }) => what).join(', '),
    output: stdout,
    status,
    error,
    leftovers: runtime.leftovers(id),
  };
}

function compare(twins: Twins, ours: One, theirs: One): string | undefined {
  if (ours.leftovers.length > 0) return `left behind: ${ours.leftovers.join(', ')}`;
  if (ours.error !== '' && theirs.error !== '') return undefined; // each in its own words
  if (ours.error !== '') return `tsrunc alone refuses: ${ours.error}`;
  if (theirs.error !== '') return `runc alone refuses: ${theirs.error}`;
  if (ours.status !== theirs.status) return `status ${ours.status}, runc: ${theirs.status}`;
  if (ours.output === theirs.output) return undefined; // of a probe that could not say much as well
  try {
    twins.compare(ours.output, theirs.output);
    return undefined;
  } catch (thrown) {
    if (!(thrown instanceof AssertionError)) throw thrown;
    return JSON.stringify(thrown.actual);
  }
}
