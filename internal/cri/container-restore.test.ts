import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ContainerRestore } from './container-restore.ts';
import { CriuLogs } from './criu-logs.ts';
import type { DaemonServices } from './daemon-services.ts';

test('what a killed daemon left of containers that nobody knows is removed', async (t) => {
  const rootDir = mkdtempSync(join(tmpdir(), 'container-restore-'));
  t.after(() => rmSync(rootDir, { recursive: true }));
  const restore = new ContainerRestore(
    {} as DaemonServices,
    { rootDir, enablesCheckpointImages: false },
    new CriuLogs(''),
  );
  await restore.removeOrphans(new Set(['known'])); // none was ever made
  for (const id of ['known', 'orphan']) {
    mkdirSync(join(rootDir, 'restores', id, 'checkpoint'), { recursive: true });
    writeFileSync(join(rootDir, 'restores', id, 'checkpoint/pages-1.img'), '');
  }
  await restore.removeOrphans(new Set(['known']));
  assert.deepEqual(readdirSync(join(rootDir, 'restores')), ['known']);
});
