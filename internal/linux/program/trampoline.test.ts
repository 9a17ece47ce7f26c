import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ARGUMENTS, BYTES_PER_WORD, GREATEST_TOLERABLE_ERRNO, Special, Word } from './record.ts';
import type { Listing } from './trampoline.ts';
import { TRAMPOLINE_ARM64 } from './trampoline-arm64.ts';
import { TRAMPOLINE_X64 } from './trampoline-x64.ts';

// That the bytes are what their texts say is for a disassembler to tell: test/integration.

test('trampolines: the offsets in their code are those of the record', () => {
  const offset = (word: number) => word * BYTES_PER_WORD;
  const x64 = texts(TRAMPOLINE_X64);
  const arm64 = texts(TRAMPOLINE_ARM64);
  for (let argument = 0; argument < ARGUMENTS; argument++) {
    assert.match(
      x64,
      new RegExp(`\\[rbx\\+0x${offset(Word.arguments + argument).toString(16)}\\]`),
    );
  }
  for (const word of [
    'result',
    'tolerated',
    'ifZero',
    'ifPositive',
    'ifTolerated',
    'ifFailed',
    'index',
  ] as const) {
    assert.match(x64, new RegExp(`\\[rbx\\+0x${offset(Word[word]).toString(16)}\\]`), word);
  }
  for (const word of ['result', 'ifZero', 'ifTolerated', 'ifFailed'] as const) {
    assert.match(arm64, new RegExp(`\\[x19, #${offset(Word[word])}\\]`), word);
  }
  assert.match(arm64, new RegExp(`add x10, x19, #${offset(Word.tolerated)}`));
  assert.equal(Word.ifPositive, Word.ifZero + 1, 'arm64 loads both at once');
  assert.equal(Word.index, Word.ifFailed + 1, 'arm64 loads both at once');
  assert.match(x64, new RegExp(`cmp rax,0x${GREATEST_TOLERABLE_ERRNO.toString(16)}`));
  assert.match(arm64, new RegExp(`cmp x0, #${GREATEST_TOLERABLE_ERRNO}`));
  assert.deepEqual(Special, { end: -1, check: -2 });
});

function texts(listing: Listing): string {
  return listing.map((line) => line[1] ?? line[0]).join('\n');
}
