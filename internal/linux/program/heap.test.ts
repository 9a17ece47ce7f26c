import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { currentBreak, processLayout } from '../process-layout.ts';
import { rawSyscall } from '../syscall.ts';
import { withoutHeapInClones } from './heap.ts';

const MORE_BYTES = 1 << 20;

/** Flags of the heap's first mapping as /proc/self/smaps has them: `dc` is not to be copied on fork. */
function heapFlags(): string[] {
  const { startBreak } = processLayout();
  const start = `${(startBreak - (startBreak % 4096n)).toString(16).padStart(8, '0')}-`;
  const text = readFileSync('/proc/self/smaps', 'utf8');
  const from = text.indexOf(`\n${start}`);
  assert.ok(from >= 0, `no mapping begins at ${start}`);
  const [, flags = ''] = /^VmFlags: (.*)$/m.exec(text.slice(from)) ?? [];
  return flags.split(' ');
}

test('withoutHeapInClones: the heap is left out meanwhile, and not afterwards', () => {
  withoutHeapInClones(() => assert.ok(heapFlags().includes('dc')));
  assert.ok(!heapFlags().includes('dc'));
});

test('withoutHeapInClones: also after an error', () => {
  const action = () => {
    throw new Error('the action');
  };
  assert.throws(() => withoutHeapInClones(action), { message: 'the action' });
  assert.ok(!heapFlags().includes('dc'));
});

test('withoutHeapInClones: the heap shrinks meanwhile, as when another thread frees memory', () => {
  const before = currentBreak();
  rawSyscall('brk', before + MORE_BYTES);
  assert.equal(currentBreak(), before + MORE_BYTES);
  withoutHeapInClones(() => {
    assert.equal(rawSyscall('brk', before), before);
  });
  assert.ok(!heapFlags().includes('dc'));
  assert.equal(spawnSync('/bin/true').status, 0, 'a child of libuv runs on in libc');
});
