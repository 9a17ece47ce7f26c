// The short form of the tests in the virtual machine, as a part of `make test`: what this machine's kernel or the lack of
// systemd does not allow here. `make test-vm` runs all of them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { filesOf, machineOnly, prepareMachine, runInMachine } from './machine.ts';
import { suites } from './suite.ts';

/** A file of tests has ten minutes in all; the machine may have to be built first. */
const TIMEOUT_S = 420;

for (const { layouts, files } of suites.short) {
  for (const layout of layouts) {
    test(`in a machine with systemd and cgroup ${layout}`, {
      skip: machineOnly() === false && 'this is the virtual machine',
    }, async (t) => {
      const missing = prepareMachine();
      if (missing !== false) {
        t.skip(missing);
        return;
      }
      const options = { layout, timeoutS: TIMEOUT_S, processors: 1 };
      let count = 0;
      for await (const result of runInMachine(filesOf(files), options)) {
        const { file, name, outcome, detail } = result;
        count++;
        await t.test(`${file}: ${name}`, { skip: outcome === 'skipped' && detail }, () => {
          if (outcome === 'failed') assert.fail(detail);
        });
      }
      assert.ok(count > 0, 'no test ran');
    });
  }
}
