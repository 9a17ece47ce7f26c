// The call Create by itself: in a shim that serves already, as that of a pod does for its second container, spoken to
// without a daemon between. And what of it is the kernel's: a process that joins a cgroup of version 1 waits for what goes
// on in all processors (an RCU grace period).
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { locateCgroup } from '../../internal/cgroups/index.ts';
import { runBlocking } from '../../internal/linux/index.ts';
import { type OriginalShim, PlayedDaemon, type RuntimeName, type Shim } from '../fixtures/shim.ts';
import type { Sample } from './measure.ts';
import { cpuOf } from './shim-subject.ts';

const GROUP = 'io.containerd.runc.v2.group';
const SIGKILL = 9;
/** Creates that are not counted: of a shim's first ones each is another's first time. */
const WARM_UP = 3;

/** A shim and its runtime. */
export interface WarmSubject {
  readonly runtime: RuntimeName;
  readonly original?: OriginalShim;
}

/** Creates by each of the subjects in turn; processor time is that of the shim and the runtime, in units of 10 ms. */
export async function measureWarmCreates(
  subjects: readonly WarmSubject[],
  rounds: number,
): Promise<Sample[][]> {
  await using daemon = await PlayedDaemon.start();
  const args = ['/bin/sleep', '1000'];
  const samples = subjects.map((): Sample[] => []);
  const begin = (subject: WarmSubject, index: number, round: number): Promise<Shim> => {
    const annotations = { [GROUP]: `group-${index}` };
    return daemon.shim(args, { ...subject, id: `warm-${index}-${round}`, annotations });
  };
  for (let round = -WARM_UP; round < rounds; round++) {
    for (const [index, subject] of subjects.entries()) {
      const shim = await begin(subject, index, round);
      const cpuBefore = cpuOf(shim.pid);
      const startMs = performance.now();
      await shim.create();
      const wallMs = performance.now() - startMs;
      if (round >= 0) samples[index]?.push({ wallMs, cpuMs: cpuOf(shim.pid) - cpuBefore });
      // The first container stays, and its shim with it.
      if (round === -WARM_UP) continue;
      await shim.start();
      const ended = shim.wait();
      await shim.task.kill({ id: shim.id, signal: SIGKILL });
      await ended;
      await shim.task.delete({ id: shim.id });
    }
  }
  return samples;
}

/** How long a process waits that joins a cgroup in all hierarchies, as a container does. */
export async function measureGracePeriods(rounds: number): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const cgroup = locateCgroup({ id: '', cgroupsPath: `/bench-grace-${process.pid}` });
    runBlocking(cgroup.create({}));
    const child = spawn('/bin/sleep', ['1000'], { stdio: 'ignore' });
    await once(child, 'spawn');
    const startMs = performance.now();
    runBlocking(cgroup.join(child.pid ?? 0));
    times.push(performance.now() - startMs);
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
    runBlocking(cgroup.remove());
  }
  return times;
}
