/**
 * The program of a pod's first process, as a file: a static executable of one page that needs nothing of its root file
 * system. It holds the pod's namespaces, reaps what is left to it, and ends on SIGTERM and SIGINT.
 *
 *     block every signal                  rt_sigprocmask(SIG_BLOCK, all)
 *     wait:  signal = next signal         rt_sigtimedwait(all, no info, no timeout)
 *            SIGTERM, SIGINT: exit 0
 *            not SIGCHLD: wait
 *     reap:  one child                    wait4(any, WNOHANG)
 *            there was one: reap, else wait
 *
 * As process 1 of its namespace it would not get signals that it does not handle; those that it waits for it gets.
 */
import { TsError } from '../errors/index.ts';
import { staticExecutable } from './static-executable.ts';

const SIGINT = 2;
const SIGTERM = 15;
const SIGCHLD = 17;
const WNOHANG = 1;
const SIGSET_BYTES = 8;

/** Bytes of the executable for `machine` (process.arch). */
export function pauseProgram(machine: string = process.arch): Buffer {
  switch (machine) {
    case 'x64':
      return staticExecutable(62, x64Code());
    case 'arm64':
      return staticExecutable(183, arm64Code());
    default:
      throw new TsError('NotImplemented', `pause program for ${machine}`);
  }
}

type Label = 'wait' | 'reap' | 'exit' | 'mask';
/** Bytes, a place that others refer to, or a distance to such a place, which takes `size` bytes. */
type Part = number[] | { readonly at: Label } | Distance;
interface Distance {
  readonly to: Label;
  readonly size: number;
  /** Bytes for the distance, counted from the end of this part, on x86-64, or its start, on arm64. */
  readonly bytes: (fromEnd: number, fromStart: number) => number[];
}

function assemble(parts: readonly Part[]): Buffer {
  const places = new Map<Label, number>();
  let length = 0;
  for (const part of parts) {
    if (Array.isArray(part)) length += part.length;
    else if ('at' in part) places.set(part.at, length);
    else length += part.size;
  }
  const bytes: number[] = [];
  for (const part of parts) {
    if (Array.isArray(part)) bytes.push(...part);
    else if ('to' in part) {
      const start = bytes.length;
      const target = places.get(part.to) ?? 0;
      bytes.push(...part.bytes(target - start - part.size, target - start));
    }
  }
  return Buffer.from(bytes);
}

const int32 = (value: number): number[] =>
  [value, value >> 8, value >> 16, value >> 24].map((byte) => byte & 0xff);

function x64Code(): Buffer {
  const eax = (value: number): number[] => [0xb8, ...int32(value)];
  const edx = (value: number): number[] => [0xba, ...int32(value)];
  const r10d = (value: number): number[] => [0x41, 0xba, ...int32(value)];
  const address = (opcode: readonly number[]): Distance => ({
    to: 'mask',
    size: opcode.length + 4,
    bytes: (fromEnd) => [...opcode, ...int32(fromEnd)],
  });
  const jump = (opcode: number, to: Label): Distance => ({
    to,
    size: 2,
    bytes: (fromEnd) => [opcode, fromEnd & 0xff],
  });
  const zeroEdi = [0x31, 0xff];
  const zeroEsi = [0x31, 0xf6];
  const zeroEdx = [0x31, 0xd2];
  const syscall = [0x0f, 0x05];
  const compareEax = (value: number): number[] => [0x83, 0xf8, value];
  return assemble([
    eax(14), // rt_sigprocmask
    zeroEdi, // SIG_BLOCK
    address([0x48, 0x8d, 0x35]), // lea rsi, [rip + mask]
    zeroEdx,
    r10d(SIGSET_BYTES),
    syscall,
    { at: 'wait' },
    eax(128), // rt_sigtimedwait
    address([0x48, 0x8d, 0x3d]), // lea rdi, [rip + mask]
    zeroEsi,
    zeroEdx,
    r10d(SIGSET_BYTES),
    syscall,
    compareEax(SIGTERM),
    jump(0x74, 'exit'), // je
    compareEax(SIGINT),
    jump(0x74, 'exit'),
    compareEax(SIGCHLD),
    jump(0x75, 'wait'), // jne
    { at: 'reap' },
    eax(61), // wait4
    [0x48, 0xc7, 0xc7, ...int32(-1)], // mov rdi, -1
    zeroEsi,
    edx(WNOHANG),
    [0x45, 0x31, 0xd2], // xor r10d, r10d
    syscall,
    [0x48, 0x85, 0xc0], // test rax, rax
    jump(0x7f, 'reap'), // jg
    jump(0xeb, 'wait'), // jmp
    { at: 'exit' },
    eax(231), // exit_group
    zeroEdi,
    syscall,
    { at: 'mask' },
    new Array<number>(SIGSET_BYTES).fill(0xff),
  ]);
}

function arm64Code(): Buffer {
  const move = (register: number, value: number): number[] =>
    int32(0xd2800000 | (value << 5) | register);
  const system = (number: number): number[] => [...move(8, number), ...int32(0xd4000001)]; // svc #0
  const address = (register: number): Distance => ({
    to: 'mask',
    size: 4,
    bytes: (_end, start) =>
      int32(0x10000000 | ((start & 3) << 29) | ((start >> 2) << 5) | register),
  });
  const branch = (condition: number, to: Label): Distance => ({
    to,
    size: 4,
    bytes: (_end, start) => int32(0x54000000 | (((start >> 2) & 0x7ffff) << 5) | condition),
  });
  const jump = (to: Label): Distance => ({
    to,
    size: 4,
    bytes: (_end, start) => int32(0x14000000 | ((start >> 2) & 0x3ffffff)),
  });
  const [equal, unequal, greater] = [0, 1, 12];
  const compareW0 = (value: number): number[] => int32(0x7100001f | (value << 10));
  return assemble([
    move(0, 0), // SIG_BLOCK
    address(1),
    move(2, 0),
    move(3, SIGSET_BYTES),
    system(135), // rt_sigprocmask
    { at: 'wait' },
    address(0),
    move(1, 0),
    move(2, 0),
    move(3, SIGSET_BYTES),
    system(137), // rt_sigtimedwait
    compareW0(SIGTERM),
    branch(equal, 'exit'),
    compareW0(SIGINT),
    branch(equal, 'exit'),
    compareW0(SIGCHLD),
    branch(unequal, 'wait'),
    { at: 'reap' },
    int32(0x92800000), // movn x0, #0: -1
    move(1, 0),
    move(2, WNOHANG),
    move(3, 0),
    system(260), // wait4
    int32(0xf100001f), // cmp x0, #0
    branch(greater, 'reap'),
    jump('wait'),
    { at: 'exit' },
    move(0, 0),
    system(94), // exit_group
    { at: 'mask' },
    new Array<number>(SIGSET_BYTES).fill(0xff),
  ]);
}
