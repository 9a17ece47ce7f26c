import type { Listing } from './trampoline.ts';

/**
 * The trampoline for arm64, in the AAPCS64 calling convention: `x19` is the current record, `x20` the
 * report.
 *
 * The kernel takes a system call's number in x8 and its arguments in x0 to x5, and returns in x0 (man
 * 2 syscall). The instruction cache needs no care here: the kernel makes it coherent when a page is
 * made executable for the first time.
 */
// biome-ignore format: one instruction a line
export const TRAMPOLINE_ARM64: Listing = [
  ['f3 53 bf a9', 'stp x19, x20, [sp, #-16]!', 'both belong to the caller'],
  ['f3 03 00 aa', 'mov x19, x0', 'the first record'],
  ['f4 03 01 aa', 'mov x20, x1', 'the report'],

  ['step'],
  ['60 86 40 a9', 'ldp x0, x1, [x19, #8]', 'where arguments 0 and 1 are, from the record on'],
  ['62 8e 41 a9', 'ldp x2, x3, [x19, #24]', '2 and 3'],
  ['64 96 42 a9', 'ldp x4, x5, [x19, #40]', '4 and 5'],
  ['60 6a 60 f8', 'ldr x0, [x19, x0]', 'their values'],
  ['61 6a 61 f8', 'ldr x1, [x19, x1]', ''],
  ['62 6a 62 f8', 'ldr x2, [x19, x2]', ''],
  ['63 6a 63 f8', 'ldr x3, [x19, x3]', ''],
  ['64 6a 64 f8', 'ldr x4, [x19, x4]', ''],
  ['65 6a 65 f8', 'ldr x5, [x19, x5]', ''],
  ['68 02 40 f9', 'ldr x8, [x19]', 'number of the system call'],
  ['28 03 f8 b7', 'tbnz x8, #63, special', 'negative: end or check'],
  ['01 00 00 d4', 'svc #0', ''],

  ['judge'],
  ['69 1e 40 f9', 'ldr x9, [x19, #56]', 'where the result is wanted'],
  ['60 6a 29 f8', 'str x0, [x19, x9]', ''],
  ['1f 00 00 f1', 'cmp x0, #0', ''],
  ['ab 00 00 54', 'b.lt error', ''],
  ['69 aa 45 a9', 'ldp x9, x10, [x19, #88]', 'how far to the record that follows zero, positive'],
  ['29 01 8a 9a', 'csel x9, x9, x10, eq', ''],
  ['73 02 09 8b', 'add x19, x19, x9', ''],
  ['ed ff ff 17', 'b step', ''],

  ['error'],
  ['e0 03 00 cb', 'neg x0, x0', 'the errno'],
  ['1f fc 02 f1', 'cmp x0, #191', 'beyond the bitmap nothing is tolerated'],
  ['28 01 00 54', 'b.hi failed', ''],
  ['09 fc 46 d3', 'lsr x9, x0, #6', 'which word of the bitmap'],
  ['6a 02 01 91', 'add x10, x19, #64', ''],
  ['4a 79 69 f8', 'ldr x10, [x10, x9, lsl #3]', ''],
  ['4a 25 c0 9a', 'lsr x10, x10, x0', 'bit number errno modulo 64 becomes bit 0'],
  ['8a 00 00 36', 'tbz w10, #0, failed', 'clear: not tolerated'],
  ['69 36 40 f9', 'ldr x9, [x19, #104]', ''],
  ['73 02 09 8b', 'add x19, x19, x9', ''],
  ['e2 ff ff 17', 'b step', ''],

  ['failed'],
  ['69 2a 47 a9', 'ldp x9, x10, [x19, #112]', 'how far to the next record, index of the step'],
  ['80 2a 00 a9', 'stp x0, x10, [x20]', 'report.errno and report.step'],
  ['73 02 09 8b', 'add x19, x19, x9', ''],
  ['de ff ff 17', 'b step', ''],

  ['special'],
  ['1f 05 00 b1', 'cmn x8, #1', 'x8 equal to -1'],
  ['a0 00 00 54', 'b.eq end', ''],
  ['00 00 01 8a', 'and x0, x0, x1', 'the field under its mask …'],
  ['1f 00 02 eb', 'cmp x0, x2', '… compared with what was expected: …'],
  ['e0 03 83 9a', 'csel x0, xzr, x3, eq', '… 0 if equal, else argument 3, a negated errno'],
  ['e4 ff ff 17', 'b judge', 'judged like a system call'],

  ['end'],
  ['f3 53 c1 a8', 'ldp x19, x20, [sp], #16', ''],
  ['c0 03 5f d6', 'ret', ''],
];
