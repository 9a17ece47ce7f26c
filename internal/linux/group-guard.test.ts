import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { test } from 'node:test';
import { GroupGuard } from './group-guard.ts';
import { needsRoot } from './program/child-run.fixture.ts';

test('GroupGuard: the group ends when its owner is killed', { skip: needsRoot }, () => {
  const script = `
    import { spawn } from 'node:child_process';
    import { GroupGuard } from ${JSON.stringify(join(import.meta.dirname, 'group-guard.ts'))};
    const child = spawn('/bin/sh', ['-c', 'sleep 86400 & echo ready >&2; wait'], {
      stdio: ['ignore', 'inherit', 'pipe'],
      detached: true,
    });
    new GroupGuard(child.pid);
    child.stderr.once('data', () => process.kill(process.pid, 'SIGKILL'));
  `;
  // Both processes of the group have stdout: it is at its end when they have ended.
  const { signal, error } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    timeout: 60_000,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  assert.deepEqual([signal, error], ['SIGKILL', undefined]);
});

test('GroupGuard: the group lives on when its guard is disposed', { skip: needsRoot }, async () => {
  const child = spawn('/bin/sh', ['-c', 'read -r line'], {
    stdio: ['pipe', 'ignore', 'inherit'],
    detached: true,
  });
  new GroupGuard(child.pid ?? 0)[Symbol.dispose]();
  child.stdin?.end('go on\n');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
});
