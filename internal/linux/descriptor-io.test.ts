import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  bytesReadable,
  duplicateFd,
  readNow,
  setNonBlocking,
  spliceNow,
  writeNow,
} from './descriptor-io.ts';
import { FdWatch } from './fd-watch.ts';
import { Pipe } from './pipe.ts';
import { waitReadable } from './poll.ts';

const EPIPE = 32;

test('readNow and writeNow say when they would have to wait', () => {
  using pipe = new Pipe({ nonBlocking: true });
  const buffer = Buffer.alloc(8);
  assert.deepEqual(readNow(pipe.readEnd.number, buffer), { wouldBlock: true });
  assert.deepEqual(writeNow(pipe.writeEnd.number, Buffer.from('abc')), { bytes: 3 });
  assert.equal(bytesReadable(pipe.readEnd.number), 3);
  assert.deepEqual(readNow(pipe.readEnd.number, buffer), { bytes: 3 });
  assert.equal(buffer.toString('latin1', 0, 3), 'abc');
  const big = Buffer.alloc(1 << 20);
  const first = writeNow(pipe.writeEnd.number, big);
  assert.ok('bytes' in first && first.bytes > 0 && first.bytes < big.length);
  assert.deepEqual(writeNow(pipe.writeEnd.number, big), { wouldBlock: true });
});

test('writeNow reports a reader that is gone, readNow the end', () => {
  using broken = new Pipe({ nonBlocking: true });
  broken.readEnd.close();
  assert.deepEqual(writeNow(broken.writeEnd.number, Buffer.from('x')), { errno: EPIPE });
  using ended = new Pipe({ nonBlocking: true });
  ended.writeEnd.close();
  assert.deepEqual(readNow(ended.readEnd.number, Buffer.alloc(1)), { bytes: 0 });
});

test('spliceNow moves what is there from pipe to pipe', () => {
  using from = new Pipe();
  using to = new Pipe();
  assert.deepEqual(spliceNow(from.readEnd.number, to.writeEnd.number, 100), { wouldBlock: true });
  writeNow(from.writeEnd.number, Buffer.from('hello'));
  assert.deepEqual(spliceNow(from.readEnd.number, to.writeEnd.number, 100), { bytes: 5 });
  from.writeEnd.close();
  assert.deepEqual(spliceNow(from.readEnd.number, to.writeEnd.number, 100), { bytes: 0 });
  const buffer = Buffer.alloc(5);
  readNow(to.readEnd.number, buffer);
  assert.equal(buffer.toString(), 'hello');
});

test('setNonBlocking changes one end of a pipe and its duplicates', () => {
  using pipe = new Pipe();
  using copy = duplicateFd(pipe.readEnd.number);
  setNonBlocking(pipe.readEnd.number);
  const flagsOf = (fd: number): string =>
    /^flags:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))?.[1] ?? '';
  const isNonBlocking = (fd: number): boolean => (Number.parseInt(flagsOf(fd), 8) & 0o4000) !== 0;
  assert.equal(isNonBlocking(copy.number), true);
  assert.equal(isNonBlocking(pipe.writeEnd.number), false);
});

test('FdWatch tells once of each readiness, and of nothing after stop', async () => {
  using pipe = new Pipe();
  let calls = 0;
  let resolve = (): void => {};
  using watch = new FdWatch(pipe.readEnd.number, () => {
    calls++;
    resolve();
  });
  for (const turn of [1, 2]) {
    const ready = new Promise<void>((done) => {
      resolve = done;
    });
    watch.wait({ readable: true });
    writeNow(pipe.writeEnd.number, Buffer.from('x'));
    await ready;
    assert.equal(calls, turn);
    assert.equal(watch.isWaiting, false);
  }
  watch.wait({ readable: true });
  watch.stop();
  await new Promise((done) => setTimeout(done, 20));
  assert.equal(calls, 2);
});

test('waitReadable resolves although nothing else happens in the process', async () => {
  using pipe = new Pipe();
  setTimeout(() => writeNow(pipe.writeEnd.number, Buffer.from('x')), 10);
  const idle = setTimeout(() => assert.fail('waited for another event'), 5000);
  await waitReadable(pipe.readEnd.number);
  clearTimeout(idle);
});
