import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { koffi } from './koffi.ts';
import { trimMemory } from './malloc.ts';

function anonymousKb(): number {
  return Number(/RssAnon:\s+([0-9]+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
}

test('trimMemory: what is freed between blocks in use goes back to the kernel', () => {
  const libc = koffi().load(null);
  const malloc = libc.func('malloc', 'void *', ['size_t']);
  const free = libc.func('free', 'void', ['void *']);
  const memset = libc.func('memset', 'void *', ['void *', 'int', 'size_t']);
  const blocks = Array.from({ length: 4000 }, () => malloc(16_000));
  for (const block of blocks) memset(block, 1, 16_000);
  const full = anonymousKb();
  for (const [index, block] of blocks.entries()) if (index % 40 !== 0) free(block);
  trimMemory();
  const left = anonymousKb();
  for (const [index, block] of blocks.entries()) if (index % 40 === 0) free(block);
  assert.ok(full - left > 40_000, `${full} kB before, ${left} kB after`);
});
