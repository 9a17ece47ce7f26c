// Puts V8's heap into huge pages, for a program that lives for some tens of milliseconds. V8 maps its heap in chunks of
// 256 KB, each at an address of its own, and the kernel clears and maps one page of 4 KB at each of some 1,000 faults: a
// fifth of the time of an empty program. Nothing that Node or V8 can be asked for changes that. So the executable gets
// 12 MB more of memory that begins as zeros, in which huge pages are asked for, and V8's function that maps memory hands
// that out before it maps more. Where the kernel has no huge pages, they are ordinary ones.
import { EM_X86_64, fileOffset, type Place, PT_LOAD, parseElf } from './elf.ts';

/** V8's virtual table of functions for memory, and its function that maps. */
export const HUGE_HEAP_SYMBOLS = {
  table: '_ZTVN2v84base13PageAllocatorE',
  allocate: '_ZN2v84base13PageAllocator13AllocatePagesEPvmmNS_13PageAllocator10PermissionE',
} as const;

const HUGE_PAGE = 2 << 20;
/** 48 of V8's chunks: `run`, the command that needs most, has 35. */
export const HEAP_BYTES = 12 << 20;
const CHUNK = 256 << 10;
/** A large object has a piece of its own, of as many chunks as it needs. */
const GREATEST_PIECE = 1 << 20;

/** The places of HUGE_HEAP_SYMBOLS in the executable, and of code that nobody runs. */
export type HugeHeapPlaces = Readonly<Record<keyof typeof HUGE_HEAP_SYMBOLS | 'room', Place>>;

/**
 * Changes an executable in place. One for another machine than x86-64 stays as it is: there pages may be larger, and
 * nothing was measured. Throws an Error when V8's table is not as expected.
 */
export function useHugeHeap(executable: Buffer, { table, allocate, room }: HugeHeapPlaces): void {
  const elf = parseElf(executable);
  if (elf.machine !== EM_X86_64) return;
  const PF_W = 2;
  const index = elf.segments.findIndex(({ type, flags }) => type === PT_LOAD && (flags & PF_W) > 0);
  const data = elf.segments[index];
  if (data === undefined) throw new Error('huge heap: the executable has no variables');
  const end = data.vaddr + data.memSize;
  const start = Math.ceil((end + 64) / HUGE_PAGE) * HUGE_PAGE;
  const MEMORY_SIZE = 40;
  const header = Number(executable.readBigUInt64LE(32)) + index * 56;
  executable.writeBigUInt64LE(BigInt(start + HEAP_BYTES - data.vaddr), header + MEMORY_SIZE);

  const code = allocator({
    at: room.address,
    otherwise: allocate.address,
    start,
    used: start - 8,
  });
  if (code.length > room.size) throw new Error('huge heap: no room for the code');
  code.copy(executable, fileOffset(elf, room.address));

  const old = Buffer.alloc(8);
  old.writeBigUInt64LE(BigInt(allocate.address));
  const tableAt = fileOffset(elf, table.address);
  const slot = executable.subarray(tableAt, tableAt + table.size).indexOf(old);
  if (slot < 0 || slot % 8 !== 0) throw new Error("huge heap: V8's table has no such function");
  executable.writeBigUInt64LE(BigInt(room.address), tableAt + slot);
}

/**
 * PageAllocator::AllocatePages(this rdi, hint rsi, size rdx, alignment rcx, permission r8d): chunks that are to be read and
 * written come from the heap of `start`, as long as it lasts; everything else is for the function that was there before.
 * Source: Intel's manual, volume 2; psABI of x86-64, 3.2 (calls) and A.2.1 (system calls); v8-platform.h.
 */
function allocator(place: { at: number; otherwise: number; start: number; used: number }): Buffer {
  const READ_WRITE = 2;
  const MADVISE = 28;
  const MADV_DONTFORK = 10;
  const MADV_HUGEPAGE = 14;
  const { start, used } = place;
  const done = [
    [0x48, 0x05, ...word(start)], // add rax, start
    [0xc3], // ret
  ].flat();
  const first = [
    [0xbf, ...word(start)], // mov edi, start
    [0xbe, ...word(HEAP_BYTES)], // mov esi, HEAP_BYTES
    [0xba, ...word(MADV_DONTFORK)], // mov edx: V8 keeps its memory from children as well
    [0xb8, ...word(MADVISE)], // mov eax
    [0x0f, 0x05], // syscall
    [0xba, ...word(MADV_HUGEPAGE)], // mov edx: an error means a kernel without huge pages
    [0xb8, ...word(MADVISE)], // mov eax
    [0x0f, 0x05], // syscall
    [0x31, 0xc0], // xor eax, eax
  ].flat();
  const take = [
    [0x4c, 0x8d, 0x92, ...word(CHUNK - 1)], // lea r10, [rdx + CHUNK - 1]
    [0x49, 0x81, 0xe2, ...word(-CHUNK)], // and r10, -CHUNK
    [0x4c, 0x89, 0xd0], // mov rax, r10
    [0xf0, 0x48, 0x0f, 0xc1, 0x04, 0x25, ...word(used)], // lock xadd [used], rax
    [0x49, 0x01, 0xc2], // add r10, rax
    [0x49, 0x81, 0xfa, ...word(HEAP_BYTES)], // cmp r10, HEAP_BYTES
  ].flat();
  const afterTake = [
    [0x48, 0x85, 0xc0], // test rax, rax
    [0x75, first.length], // jne done
    first,
    done,
  ].flat();
  // Each check jumps to the end when it fails; they are put together from the last to the first.
  const JUMP_IF_NOT_EQUAL = 0x75;
  const JUMP_IF_ABOVE = 0x77;
  let body: number[] = afterTake;
  for (const [check, jump] of [
    [take, JUMP_IF_ABOVE],
    [[0x41, 0x83, 0xf8, READ_WRITE], JUMP_IF_NOT_EQUAL], // cmp r8d, READ_WRITE
    [[0x48, 0x81, 0xf9, ...word(CHUNK)], JUMP_IF_NOT_EQUAL], // cmp rcx, CHUNK
    [[0x48, 0x81, 0xfa, ...word(GREATEST_PIECE)], JUMP_IF_ABOVE], // cmp rdx, GREATEST_PIECE
  ] as const) {
    body = [...check, jump, body.length, ...body];
  }
  const JUMP_BYTES = 5;
  const distance = place.otherwise - (place.at + body.length + JUMP_BYTES);
  return Buffer.from([...body, 0xe9, ...word(distance)]); // otherwise: jmp
}

/** Four bytes, the lowest first. */
function word(value: number): number[] {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return [...bytes];
}
