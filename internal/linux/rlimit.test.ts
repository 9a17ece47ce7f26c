import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { getResourceLimit, setResourceLimit } from './rlimit.ts';

test('getResourceLimit, setResourceLimit: of another process', async () => {
  const child = spawn('/bin/sleep', ['100']);
  try {
    const pid = child.pid ?? 0;
    setResourceLimit(pid, 'RLIMIT_CORE', { soft: 5n, hard: 7n });
    assert.deepEqual(getResourceLimit(pid, 'RLIMIT_CORE'), { soft: 5n, hard: 7n });
    const invalid = { soft: 8n, hard: 7n };
    assert.throws(() => setResourceLimit(pid, 'RLIMIT_CORE', invalid), {
      message: `set RLIMIT_CORE of process ${pid}: EINVAL`,
    });
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
});
