// The built daemon after work: what it needed for that goes back to the kernel once nobody calls it, and it serves on.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { busyboxRootfs } from '../fixtures/busybox-rootfs.ts';
import { skipWithout, TestDaemon } from '../fixtures/daemon.ts';
import { buildImage, imageArchive } from '../fixtures/oci-image.ts';
import { runTsctr } from '../fixtures/tsctr.ts';

const program = join(import.meta.dirname, '../../dist/bin/tscontainerd');
const isBuilt = existsSync(program) ? false : 'dist/bin/tscontainerd is not built: run make';
const DEADLINE_MS = 60_000;
const LEAST_GIVEN_BACK_KB = 4 << 10;

function anonymousKb(pid: number | undefined): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^RssAnon:\s+(\d+)/m.exec(status)?.[1]);
}

test('memory of an import is given back when the daemon is idle', {
  skip: skipWithout('tscontainerd') || isBuilt,
}, async (context) => {
  const dir = mkdtempSync(join(tmpdir(), 'daemon-idle-'));
  context.after(() => rmSync(dir, { recursive: true }));
  const archive = join(dir, 'image.tar');
  const layers = [busyboxRootfs().entries];
  writeFileSync(archive, await imageArchive(await buildImage({ name: 'a.example/b:1', layers })));
  await using daemon = await TestDaemon.start('tscontainerd', { program });
  const images = (...args: string[]) => runTsctr(['-a', daemon.address, 'images', ...args]);
  const { status, stderr } = await images('import', archive);
  assert.equal(status, 0, stderr);
  const busyKb = anonymousKb(daemon.process.pid);
  let idleKb = busyKb;
  const deadlineMs = performance.now() + DEADLINE_MS;
  while (busyKb - idleKb < LEAST_GIVEN_BACK_KB && performance.now() < deadlineMs) {
    await delay(100); // nobody is told of it
    assert.equal(daemon.process.exitCode, null, daemon.log);
    idleKb = anonymousKb(daemon.process.pid);
  }
  context.diagnostic(`${busyKb} kB after the import, ${idleKb} kB when idle`);
  assert.ok(busyKb - idleKb >= LEAST_GIVEN_BACK_KB, `${busyKb} kB, then ${idleKb} kB`);
  assert.equal((await images('ls', '-q')).stdout, 'a.example/b:1\n');
});
