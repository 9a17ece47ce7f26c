import type { Listing } from './trampoline.ts';

/**
 * The trampoline for x86-64, in the System V calling convention: `rbx` is the current record, `r12`
 * the report.
 *
 * The kernel takes a system call's number in rax and its arguments in rdi, rsi, rdx, r10, r8 and r9,
 * returns in rax and destroys rcx and r11 (man 2 syscall).
 */
// biome-ignore format: one instruction a line
export const TRAMPOLINE_X64: Listing = [
  ['53', 'push rbx', 'both belong to the caller'],
  ['41 54', 'push r12', ''],
  ['48 89 fb', 'mov rbx,rdi', 'the first record'],
  ['49 89 f4', 'mov r12,rsi', 'the report'],

  ['step'],
  ['48 8b 7b 08', 'mov rdi,QWORD PTR [rbx+0x8]', 'where argument 0 is, from the record on …'],
  ['48 8b 3c 3b', 'mov rdi,QWORD PTR [rbx+rdi*1]', '… and its value'],
  ['48 8b 73 10', 'mov rsi,QWORD PTR [rbx+0x10]', 'argument 1'],
  ['48 8b 34 33', 'mov rsi,QWORD PTR [rbx+rsi*1]', ''],
  ['48 8b 53 18', 'mov rdx,QWORD PTR [rbx+0x18]', 'argument 2'],
  ['48 8b 14 13', 'mov rdx,QWORD PTR [rbx+rdx*1]', ''],
  ['4c 8b 53 20', 'mov r10,QWORD PTR [rbx+0x20]', 'argument 3'],
  ['4e 8b 14 13', 'mov r10,QWORD PTR [rbx+r10*1]', ''],
  ['4c 8b 43 28', 'mov r8,QWORD PTR [rbx+0x28]', 'argument 4'],
  ['4e 8b 04 03', 'mov r8,QWORD PTR [rbx+r8*1]', ''],
  ['4c 8b 4b 30', 'mov r9,QWORD PTR [rbx+0x30]', 'argument 5'],
  ['4e 8b 0c 0b', 'mov r9,QWORD PTR [rbx+r9*1]', ''],
  ['48 8b 03', 'mov rax,QWORD PTR [rbx]', 'number of the system call'],
  ['48 85 c0', 'test rax,rax', ''],
  ['78 48', 'js special', 'negative: end or check'],
  ['0f 05', 'syscall', ''],

  ['judge'],
  ['48 8b 4b 38', 'mov rcx,QWORD PTR [rbx+0x38]', 'where the result is wanted'],
  ['48 89 04 0b', 'mov QWORD PTR [rbx+rcx*1],rax', ''],
  ['48 85 c0', 'test rax,rax', ''],
  ['78 0e', 'js error', ''],
  ['48 8b 4b 60', 'mov rcx,QWORD PTR [rbx+0x60]', 'result positive: how far to the next record …'],
  ['48 0f 44 4b 58', 'cmove rcx,QWORD PTR [rbx+0x58]', '… or zero: the other distance'],
  ['48 01 cb', 'add rbx,rcx', ''],
  ['eb ab', 'jmp step', ''],

  ['error'],
  ['48 f7 d8', 'neg rax', 'the errno'],
  ['48 3d bf 00 00 00', 'cmp rax,0xbf', 'beyond the bitmap nothing is tolerated'],
  ['77 0d', 'ja failed', ''],
  ['48 0f a3 43 40', 'bt QWORD PTR [rbx+0x40],rax', 'bit number errno of the 192-bit map, into the carry flag'],
  ['73 06', 'jae failed', 'clear: not tolerated'],
  ['48 03 5b 68', 'add rbx,QWORD PTR [rbx+0x68]', ''],
  ['eb 93', 'jmp step', ''],

  ['failed'],
  ['48 8b 4b 78', 'mov rcx,QWORD PTR [rbx+0x78]', 'index of the step'],
  ['49 89 04 24', 'mov QWORD PTR [r12],rax', 'report.errno'],
  ['49 89 4c 24 08', 'mov QWORD PTR [r12+0x8],rcx', 'report.step'],
  ['48 03 5b 70', 'add rbx,QWORD PTR [rbx+0x70]', ''],
  ['eb 80', 'jmp step', ''],

  ['special'],
  ['48 ff c0', 'inc rax', '-1 becomes 0'],
  ['74 0e', 'je end', ''],
  ['31 c0', 'xor eax,eax', 'the result 0, unless …'],
  ['48 21 f7', 'and rdi,rsi', 'the field under its mask …'],
  ['48 39 d7', 'cmp rdi,rdx', '… is not what was expected: …'],
  ['49 0f 45 c2', 'cmovne rax,r10', '… then it is argument 3, a negated errno'],
  ['eb a7', 'jmp judge', 'judged like a system call'],

  ['end'],
  ['41 5c', 'pop r12', ''],
  ['5b', 'pop rbx', ''],
  ['c3', 'ret', ''],
];
