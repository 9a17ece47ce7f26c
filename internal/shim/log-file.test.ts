import assert from 'node:assert/strict';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { TsError } from '../errors/index.ts';
import { LogFile, type LogFileOptions } from './log-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'log-file-'));
after(() => rmSync(directory, { recursive: true }));
const EMPTY = new Uint8Array(0);
const LIMIT = { timeout: 30_000 };

async function open(path: string, options: Partial<LogFileOptions> = {}): Promise<LogFile> {
  const notice = (text: string): Uint8Array => Buffer.from(`notice: ${text}\n`);
  return (await LogFile.open(path, { notice, retryMs: 10, ...options })).use();
}

function add(file: LogFile, text: string): void {
  file.line(EMPTY, Buffer.from(text), Buffer.from('\n'));
  file.flush();
}

async function idle(file: LogFile): Promise<void> {
  while (!file.isIdle) await new Promise<void>((resolve) => file.onChange(resolve));
}

test('LogFile appends lines, for its owner and group alone', LIMIT, async () => {
  const path = join(directory, 'deep/er/a.log');
  const file = await open(path);
  for (let line = 0; line < 1000; line++) add(file, `line ${line}`);
  await idle(file);
  const expected = Array.from({ length: 1000 }, (_, line) => `line ${line}\n`).join('');
  assert.equal(readFileSync(path, 'utf8'), expected);
  assert.equal(statSync(path).mode & 0o777 & ~0o640, 0);
  assert.equal(file.counts.bytesWritten, BigInt(expected.length));
  file.release();
});

test('LogFile.reopen tears no line, however often the file is renamed', LIMIT, async () => {
  const path = join(directory, 'rotated.log');
  const file = await open(path);
  const paths: string[] = [];
  let line = 0;
  const write = (count: number): void => {
    for (const end = line + count; line < end; line++)
      add(file, `${line} ${'x'.repeat(line % 300)}`);
  };
  for (let round = 0; round < 50; round++) {
    write(20);
    renameSync(path, `${path}.${round}`);
    paths.push(`${path}.${round}`);
    write(20);
    await file.reopen();
    write(1);
  }
  await idle(file);
  paths.push(path);
  const all = paths.map((each) => readFileSync(each, 'utf8'));
  for (const text of all) assert.match(text, /^(?:\d+ x*\n)*$/);
  const numbers = all
    .join('')
    .split('\n')
    .slice(0, -1)
    .map((text) => Number.parseInt(text, 10));
  assert.deepEqual(
    numbers,
    Array.from({ length: line }, (_, index) => index),
  );
  file.release();
});

test('LogFile.reopen that fails leaves the old file in use', LIMIT, async () => {
  const path = join(directory, 'sub/b.log');
  const file = await open(path);
  add(file, 'one');
  await idle(file);
  renameSync(join(directory, 'sub'), join(directory, 'moved'));
  await assert.rejects(file.reopen(), { kind: 'NotFound', message: `open ${path}: ENOENT` });
  add(file, 'two');
  await idle(file);
  assert.equal(readFileSync(join(directory, 'moved/b.log'), 'utf8'), 'one\ntwo\n');
  file.release();
});

test('LogFile drops and counts what a full disk refuses, and waits for nobody', LIMIT, async () => {
  const path = join(directory, 'full.log');
  symlinkSync('/dev/full', path);
  const refusals: string[] = [];
  const file = await open(path, {
    maxPendingBytes: 100,
    onRefused: (error) => refusals.push(error.text),
  });
  add(file, 'kept');
  await idle(file);
  assert.deepEqual(refusals, [`write ${path}: ENOSPC: free space on the disk of the log`]);
  for (let line = 0; line < 100; line++) {
    assert.equal(file.hasRoom, true);
    add(file, `line ${line}`);
  }
  await delay(50); // some more tries, all of them refused
  assert.deepEqual(refusals.length, 1);
  const lost = file.counts.linesLost;
  assert.ok(lost >= 85n && lost < 100n, `${lost}`);
  // Room again, as far as the file is concerned: another one is at its path.
  rmSync(path);
  await file.reopen();
  await idle(file);
  const kept = 100 - Number(lost);
  const bytes = file.counts.bytesLost;
  assert.equal(
    readFileSync(path, 'utf8'),
    `kept\n${Array.from({ length: kept }, (_, line) => `line ${line}\n`).join('')}` +
      `notice: ${lost} lines of output (${bytes} bytes) lost: write ${path}: ENOSPC\n`,
  );
  add(file, 'after');
  await idle(file);
  assert.match(readFileSync(path, 'utf8'), /ENOSPC\nafter\n$/);
  file.release();
});

test('LogFile that is closed on a full disk says what is lost', LIMIT, async () => {
  const path = join(directory, 'full-to-the-end.log');
  symlinkSync('/dev/full', path);
  const closed = Promise.withResolvers<TsError>();
  const file = await open(path, {
    onRefused: (error) => error.kind === 'DataLoss' && closed.resolve(error),
  });
  add(file, 'kept');
  await idle(file);
  file.release();
  const { message } = await closed.promise;
  assert.equal(message, `log ${path}: its last 5 bytes and 0 lines (0 bytes) lost: ENOSPC`);
});

test('LogFile refuses a directory or a fifo in the place of a log', LIMIT, async () => {
  const path = join(directory, 'directory');
  mkdirSync(path);
  await assert.rejects(open(path), { message: `open ${path}: EISDIR` });
  const { spawnSync } = await import('node:child_process');
  const fifo = join(directory, 'fifo');
  assert.equal(spawnSync('mkfifo', [fifo]).status, 0);
  // Without a reader the open fails, with one the look at it does.
  await assert.rejects(open(fifo), { message: `open ${fifo}: ENXIO` });
});
