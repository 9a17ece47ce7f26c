import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { WorkerPool } from './worker-pool.ts';

function directory(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'worker-pool-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  writeFileSync(join(path, 'file'), 'content');
  return path;
}

test('WorkerPool: close ends what runs and what waits, and takes nothing more', async (t) => {
  const path = directory(t);
  const workers = new WorkerPool(1);
  const jobs = [1, 2, 3].map(() => workers.run({ kind: 'usage', path }));
  const settled = Promise.allSettled(jobs);
  await workers.close();
  for (const outcome of await settled) {
    assert.equal(outcome.status, 'rejected');
    assert.equal(outcome.reason.message, 'the daemon is stopping');
  }
  await assert.rejects(workers.run({ kind: 'usage', path }), {
    kind: 'Unavailable',
    message: 'the daemon is stopping',
  });
});
