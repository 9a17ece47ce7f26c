// Prepares memory before the program begins, for one that lives for some tens of milliseconds. Three things cost such a
// program half of its page faults or more, and nothing that it is given at its start can change them, so its entry point
// does, and goes on where it went on before:
// - What malloc hands out and what variables begin with is mapped by the kernel page by page. It is asked for at once.
// - Each large piece of memory malloc maps for itself, and unmaps it when it is freed. It takes them from its heap now.
// - Code that has to be read from the disk is read into pages of 4 KB, and stays in them for as long as the file is
//   cached. It is read into pages of 2 MB now, if the file system can, of which each needs one fault and one entry of the
//   processor's cache of addresses. That no more is read ahead belongs to it: what the kernel would read beyond such a
//   page, in the expectation of more, it would read into small ones.
import { type ElfFile, EM_X86_64, fileOffset, type Place, PT_LOAD, parseElf } from './elf.ts';

/** Bytes of malloc's heap that are mapped at once: an empty program uses five sixths of them, `run` all. */
export const PREPARED_BYTES = 3 << 20;
/**
 * When a piece that malloc has mapped by itself is freed, malloc takes all pieces up to its size from its heap from then
 * on, and gives the heap's end back to the kernel only above twice the size (man 3 mallopt, M_MMAP_THRESHOLD).
 */
const GREATEST_PIECE = 4 << 20;

const PAGE_BYTES = 4096;
const PF_W = 2;
const PT_GNU_RELRO = 0x6474e552;
const MADVISE = 28;
const MADV_RANDOM = 1;
const MADV_HUGEPAGE = 14;
const MADV_POPULATE_WRITE = 23;

/** Addresses in the executable. */
export interface PreparationPlaces {
  /** Code that nobody runs. */
  readonly room: Place;
  /** Variables that hold the addresses of malloc and free. */
  readonly malloc: number;
  readonly free: number;
}

/** Changes an executable for x86-64 in place, others not (as huge-heap.ts); returns what is left of the room. */
export function prepareMemory(
  executable: Buffer,
  { room, malloc, free }: PreparationPlaces,
): Place {
  const elf = parseElf(executable);
  if (elf.machine !== EM_X86_64) return room;
  const ENTRY = 24;
  const steps = [
    [0x52], // push rdx
    [0x53], // push rbx: calls find the stack aligned
    ...unwritten(elf).map(readInHugePages),
    ...written(elf).map((range) => advise(range, MADV_POPULATE_WRITE)),
    ...heap(malloc, free),
    [0x5b], // pop rbx
    [0x5a], // pop rdx
  ].flat();
  const entry = Number(executable.readBigUInt64LE(ENTRY));
  const JUMP_BYTES = 5;
  const end = room.address + steps.length + JUMP_BYTES;
  const code = Buffer.from([...steps, 0xe9, ...word(entry - end)]); // jmp
  if (code.length > room.size) throw new Error('prepare memory: no room for the code');
  code.copy(executable, fileOffset(elf, room.address));
  executable.writeBigUInt64LE(BigInt(room.address), ENTRY);
  const used = Math.ceil(code.length / 16) * 16;
  return { address: room.address + used, size: room.size - used };
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/** Code and constants. */
function unwritten(elf: ElfFile): Range[] {
  return elf.segments
    .filter(({ type, flags }) => type === PT_LOAD && (flags & PF_W) === 0)
    .map(({ vaddr, memSize }) => ({ start: vaddr - (vaddr % PAGE_BYTES), end: vaddr + memSize }));
}

/** Variables, without those that the loader has written already and made constants. */
function written(elf: ElfFile): Range[] {
  const relro = elf.segments.find(({ type }) => type === PT_GNU_RELRO);
  return elf.segments
    .filter(({ type, flags }) => type === PT_LOAD && (flags & PF_W) !== 0)
    .map(({ vaddr, memSize }) => ({
      start: relro === undefined ? vaddr - (vaddr % PAGE_BYTES) : relro.vaddr + relro.memSize,
      end: vaddr + memSize,
    }));
}

/**
 * madvise(2) of pages; an error (an older kernel, one without huge pages) means that they stay as they were. Source:
 * Intel's manual, volume 2; psABI of x86-64, A.2.1.
 */
function advise({ start, end }: Range, advice: number): number[] {
  return [
    [0xbf, ...word(start)], // mov edi
    [0xbe, ...word(end - start)], // mov esi
    madvise(advice),
  ].flat();
}

/** Without huge pages in the kernel it may read ahead: one page of 4 KB at a time would be slow. */
function readInHugePages(range: Range): number[] {
  const random = madvise(MADV_RANDOM);
  return [
    advise(range, MADV_HUGEPAGE),
    [0x85, 0xc0], // test eax, eax
    [0x75, random.length], // jne
    random,
  ].flat();
}

/** Of the pages that the registers edi and esi name, which a system call leaves as they are. */
function madvise(advice: number): number[] {
  return [
    [0xba, ...word(advice)], // mov edx
    [0xb8, ...word(MADVISE)], // mov eax
    [0x0f, 0x05], // syscall
  ].flat();
}

/**
 * Has malloc take even large pieces from its heap, and the heap's next pages mapped. Where there is no memory to be had,
 * the address is 0, at which nothing can be mapped. Source: psABI of x86-64, 3.2 and 3.4.1 (calls, the stack, rdx).
 */
function heap(malloc: number, free: number): number[][] {
  const call = (variable: number) => [0xff, 0x14, 0x25, ...word(variable)];
  return [
    [0xbf, ...word(GREATEST_PIECE)], // mov edi
    call(malloc),
    [0x48, 0x89, 0xc7], // mov rdi, rax
    call(free),
    [0xbf, ...word(PREPARED_BYTES)], // mov edi
    call(malloc),
    [0x48, 0x89, 0xc3], // mov rbx, rax
    [0x48, 0x89, 0xc7], // mov rdi, rax
    [0x48, 0x81, 0xe7, ...word(-PAGE_BYTES)], // and rdi, -PAGE_BYTES
    [0xbe, ...word(PREPARED_BYTES)], // mov esi
    madvise(MADV_POPULATE_WRITE),
    [0x48, 0x89, 0xdf], // mov rdi, rbx
    call(free),
  ];
}

/** Four bytes, the lowest first. */
function word(value: number): number[] {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32LE(value);
  return [...bytes];
}
