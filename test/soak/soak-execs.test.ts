// Execs one after the other in a shim that has only these to do (wish 4: a shim that grew to 20 GB under exec probes): its
// private memory stays as it is. Of that only what the kernel cannot drop: more and more of the program's own file is mapped in as it is used.
// SHIM_EXECS=10000 for more.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { median } from '../bench/measure.ts';
import { memoryOf } from '../bench/memory.ts';
import { PlayedDaemon, skipWithout } from '../fixtures/shim.ts';

const EXECS = Number(process.env['SHIM_EXECS'] ?? 400);
/** So many execs are between two looks at the memory. */
const INTERVAL = 10;
const GREATEST_GROWTH_KB = 2_000;
const SIGKILL = 9;

for (const runtime of ['tsrunc', 'in-process'] as const) {
  test(`${runtime}: the memory of a shim is the same after ${EXECS} execs`, {
    skip: skipWithout(runtime),
  }, async (t) => {
    await using daemon = await PlayedDaemon.start();
    const shim = await daemon.shim(['/bin/sleep', '100000'], { runtime });
    await shim.create();
    await shim.start();
    const samples: number[] = [];
    const startMs = performance.now();
    for (let number = 0; number < EXECS; number++) {
      const id = `e${number}`;
      await shim.exec(id, ['/bin/true']);
      assert.equal(await shim.wait(id), 0);
      await shim.task.delete({ id: 'c1', execId: id });
      if (number % INTERVAL === INTERVAL - 1) samples.push(memoryOf(shim.pid).dirtyKb);
    }
    const seconds = (performance.now() - startMs) / 1000;
    // What V8 has compiled and its heap has grown to by then is not made anew for each.
    const part = Math.ceil(samples.length / 4);
    const [early, late] = [samples.slice(part, 2 * part), samples.slice(-part)].map(median);
    t.diagnostic(`${early} kB, then ${late} kB; ${(EXECS / seconds).toFixed(1)} execs a second`);
    assert.ok((late ?? 0) - (early ?? 0) < GREATEST_GROWTH_KB, `${early} kB, then ${late} kB`);
    await shim.task.kill({ id: 'c1', signal: SIGKILL });
    assert.equal(await shim.wait(), 128 + SIGKILL);
    await shim.finish();
  });
}
