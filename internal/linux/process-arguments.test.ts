import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

/** What another process sees of one that replaced its arguments by those of a JavaScript expression. */
function seen(args: string, padding: string): string {
  const module = join(import.meta.dirname, 'process-arguments.ts');
  const script = `
    const { setProcessArguments } = await import(${JSON.stringify(module)});
    const { spawnSync } = await import('node:child_process');
    try {
      setProcessArguments(${args});
      process.stdout.write(spawnSync('cat', ['/proc/' + process.pid + '/cmdline']).stdout);
    } catch (thrown) {
      process.stdout.write(thrown.text.replace(/\\d+/g, 'N'));
    }`;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '-e', script, padding],
    { encoding: 'utf8', timeout: 60_000 },
  );
  assert.equal(stderr, '');
  return stdout;
}

test('setProcessArguments: other processes see the new ones, and nothing of the old', () => {
  const line = seen("['/bin/shim', '-id', 'ä b', '']", ' '.repeat(100));
  assert.match(line, /^\/bin\/shim\0-id\0ä b\0\0+$/);
});

test('setProcessArguments: they must fit', () => {
  const line = seen("['x'.repeat(5000)]", '');
  assert.equal(line, 'arguments: N bytes, room for N');
});
