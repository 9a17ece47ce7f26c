import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { levelOfLine, ShimLog } from './shim-log.ts';

function directory(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'shim-log-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

/** Collects lines; `until(n)` resolves with the first n. */
function collector() {
  const lines: string[] = [];
  let wake = (): void => {};
  return {
    add: (line: string) => {
      lines.push(line);
      wake();
    },
    async until(count: number): Promise<string[]> {
      while (lines.length < count) {
        const keepAlive = setInterval(() => {}, 1000);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        clearInterval(keepAlive);
      }
      return lines;
    },
  };
}

test('ShimLog: passes lines on, whole, from one writer after another', async () => {
  using at = directory();
  const path = join(at.path, 'log');
  const seen = collector();
  using _log = await ShimLog.open(path, seen.add);
  appendFileSync(path, 'one\ntw');
  appendFileSync(path, 'o\n\nthree\n');
  assert.deepEqual(await seen.until(3), ['one', 'two', 'three']);
});

test('ShimLog: a fifo that is there is opened again', async () => {
  using at = directory();
  const path = join(at.path, 'log');
  (await ShimLog.open(path, () => {}))[Symbol.dispose]();
  const seen = collector();
  using _log = await ShimLog.open(path, seen.add);
  appendFileSync(path, 'again\n');
  assert.deepEqual(await seen.until(1), ['again']);
});

test('ShimLog: a line without an end is passed on in parts', async () => {
  using at = directory();
  const path = join(at.path, 'log');
  const seen = collector();
  using _log = await ShimLog.open(path, seen.add);
  appendFileSync(path, 'x'.repeat(40_000));
  assert.ok((await seen.until(1))[0]?.startsWith('xxx'));
});

test('ShimLog: a file in the place of the fifo is refused', async () => {
  using at = directory();
  const path = join(at.path, 'log');
  writeFileSync(path, '');
  await assert.rejects(
    ShimLog.open(path, () => {}),
    { message: `open ${path}: not a fifo` },
  );
});

for (const [line, level] of [
  ['time="2026-11-22T08:49:25Z" level=debug msg="serving"', 'debug'],
  ['time="x" level=info msg="y" level=error', 'info'],
  ['time="x" level=warning msg="y"', 'warn'],
  ['{"level":"error","msg":"x"}', 'error'],
  ['{"level":"fatal","msg":"x"}', 'error'],
  ['panic: runtime error', 'warn'],
] as const) {
  test(`levelOfLine: ${line} is ${level}`, () => assert.equal(levelOfLine(line), level));
}
