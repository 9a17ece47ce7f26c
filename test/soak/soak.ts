// Containers created, executed in, killed and deleted in a loop, by several workers at once, in shims that live through
// all of it and in shims of their own. Afterwards everything is as it was before: processes, mounts, cgroups, sockets,
// files, and the descriptors, children and memory of the shims.
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { cgroupName, removeWorkspace } from '../demo/workspace.ts';
import { SeededRandom } from '../fixtures/seeded-random.ts';
import { PlayedDaemon, type RuntimeName, type Shim } from '../fixtures/shim.ts';
import { MemoryCurve } from './memory-curve.ts';
import { SoakContainers } from './soak-containers.ts';
import { type Surroundings, surroundingsOf } from './surroundings.ts';

export interface SoakOptions {
  readonly seconds: number;
  readonly workers: number;
  readonly seed: number;
  /** Hears every ten seconds how far it is. */
  readonly onProgress?: (line: string) => void;
}

export interface SoakResult {
  readonly containers: number;
  readonly execs: number;
  readonly memory: readonly ShimMemory[];
}

/** Resident memory of a shim, in kB: after the first minute, or a third of a shorter run, and at the end. */
export interface ShimMemory {
  readonly runtime: RuntimeName;
  readonly earlyKb: number;
  readonly lateKb: number;
}

/** The shims that live through all of it; workers have one or the other. */
const RUNTIMES = ['tsrunc', 'in-process'] as const;
/** In one of so many rounds a worker has a shim of its own. */
const OWN_SHIM_EVERY = 6;
const PROGRESS_MS = 10_000;
/** Surroundings that stay the same for so long count as quiet: what a busy machine delays is over by then. */
const QUIET_MS = 1_000;
const LOOK_MS = 50;
/** Of what must come at all; a slow machine may take its time. */
const DEADLINE_MS = 30_000;

/** Goes on for so long, or to the first thing that is wrong, which it rejects with. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  await using daemon = await PlayedDaemon.start();
  const containers = new SoakContainers(daemon, `/${cgroupName(daemon.directory)}`);
  const shims: Shim[] = [];
  for (const runtime of RUNTIMES) shims.push(await containers.shim(`all-${runtime}`, runtime));
  try {
    // What is loaded with the first of each kind stays: that is no leak.
    const random = new SeededRandom(options.seed);
    for (const shim of shims) await containers.liveIn(shim, `warm-up-${shim.runtime}`, random);
    const before = await quiet(daemon, shims);
    const curves = shims.map(({ pid }) => new MemoryCurve(pid, options.seconds));
    await work(options, containers, shims, curves);
    const memory = shims.map(({ runtime }, index) => ({
      runtime,
      earlyKb: curves[index]?.earlyKb ?? 0,
      lateKb: curves[index]?.lateKb ?? 0,
    }));
    await expectTheSame(before, () => surroundingsOf(daemon, shims));
    await containers.checkEvents();
    for (const shim of shims) await containers.endShim(shim);
    return { containers: containers.lives, execs: containers.execs, memory };
  } catch (error) {
    // With containers in them the shims do not leave: whatever went wrong, nothing shall stay on the machine.
    for (const shim of shims) shim.disconnect();
    await removeWorkspace(daemon.directory);
    throw error;
  }
}

async function work(
  { seconds, workers, seed, onProgress }: SoakOptions,
  containers: SoakContainers,
  shims: readonly Shim[],
  curves: readonly MemoryCurve[],
): Promise<void> {
  const endMs = performance.now() + seconds * 1000;
  const timer = setInterval(() => {
    const memory = curves.map(({ lateKb }) => `${lateKb} kB`).join(', ');
    onProgress?.(`${containers.lives} containers, ${containers.execs} execs; shims: ${memory}`);
  }, PROGRESS_MS);
  let isWrong = false;
  const loop = async (worker: number): Promise<void> => {
    const random = new SeededRandom(seed + 1 + worker);
    const shim = shims[worker % shims.length];
    assert.ok(shim !== undefined);
    for (let round = 1; performance.now() < endMs && !isWrong; round++) {
      const id = `w${worker}-${round}`;
      if (round % OWN_SHIM_EVERY === 0) await containers.liveAlone(id, shim.runtime, random);
      else await containers.liveIn(shim, id, random);
    }
  };
  const watched = async (worker: number): Promise<void> => {
    try {
      await loop(worker);
    } catch (error) {
      isWrong = true;
      throw error;
    }
  };
  try {
    // The others end their round first: they use what is taken away after a failure.
    const ends = await Promise.allSettled(Array.from({ length: workers }, (_, n) => watched(n)));
    for (const end of ends) if (end.status === 'rejected') throw end.reason;
  } finally {
    clearInterval(timer);
    for (const curve of curves) curve.stop();
  }
}

/** The surroundings once nothing changes any more. */
async function quiet(daemon: PlayedDaemon, shims: readonly Shim[]): Promise<Surroundings> {
  const deadline = performance.now() + DEADLINE_MS;
  let [text, sinceMs] = ['', 0];
  for (;;) {
    for (const shim of shims) await shim.task.connect({ id: shim.id }); // its event loop has turned
    const now = surroundingsOf(daemon, shims);
    if (JSON.stringify(now) !== text) [text, sinceMs] = [JSON.stringify(now), performance.now()];
    else if (performance.now() - sinceMs >= QUIET_MS) return now;
    assert.ok(performance.now() < deadline, `the shims were never quiet: ${text}`);
    await delay(LOOK_MS);
  }
}

/** What has ended may still be on its way out; what stays is told by the comparison. */
async function expectTheSame(before: Surroundings, look: () => Surroundings): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    try {
      assert.deepEqual(look(), before);
      return;
    } catch (error) {
      // Also what goes away while it is looked at.
      if (performance.now() > deadline) throw error;
    }
    await delay(LOOK_MS);
  }
}
