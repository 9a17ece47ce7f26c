// The attack: two containers are created at the same moment, and one gets what is meant for the other (CVE-2021-21334: the
// environment of one was seen in another). Here twenty are made at once, each with a secret of its own.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { skipWithout } from '../fixtures/daemon.ts';
import { shimKinds, TaskBench } from '../fixtures/tasks.ts';

const COUNT = 20;

for (const kind of shimKinds().filter(({ name }) => !/1\.6|with tsrunc/.test(name))) {
  const skip = skipWithout('tscontainerd') || kind.skip;

  test(`${kind.name}: containers made at once see their own environment alone`, {
    skip,
  }, async () => {
    await using bench = await TaskBench.start(kind);
    const output = join(bench.daemon.directory, 'output');
    mkdirSync(output);
    const ids = Array.from({ length: COUNT }, (_, index) => `c${index}`);
    await Promise.all(
      ids.map(async (id) => {
        const file = `file://${output}/${id}`;
        await bench.run(id, {
          args: ['/bin/env'],
          env: [`SECRET=of-${id}`, `ONLY_${id}=1`, '__proto__=p'],
          io: { stdout: file, stderr: file },
        });
        assert.equal((await bench.tasks.wait({ containerId: id })).exitStatus, 0);
        await bench.tasks.delete({ containerId: id });
      }),
    );
    for (const id of ids) {
      const lines = readFileSync(join(output, id), 'utf8').trim().split('\n');
      const usual = /^(PATH|HOME|PWD|SHLVL|HOSTNAME|TERM)=/;
      const own = lines.filter((line) => !usual.test(line)).sort();
      assert.deepEqual(own, [`ONLY_${id}=1`, `SECRET=of-${id}`, '__proto__=p'].sort());
      assert.deepEqual(await bench.leftoversAfter(id), []);
    }
  });
}
