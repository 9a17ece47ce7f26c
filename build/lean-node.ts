// Makes of Node's executable, as it was published, the one that our programs begin with: without symbols for debuggers
// (strip-elf.ts), with few for the dynamic loader (dynamic-symbols.ts), and without five things that Node does in each
// process and that are of no use to ours. Its own symbol table says where they are; it is still there before stripping.
import { callSlot, shortenDynamicSymbols } from './dynamic-symbols.ts';
import {
  type ElfFile,
  EM_AARCH64,
  EM_X86_64,
  fileOffset,
  type Place,
  PT_LOAD,
  parseElf,
  SYMBOL_BYTES,
  symbolName,
} from './elf.ts';
import { HUGE_HEAP_SYMBOLS, useHugeHeap } from './huge-heap.ts';
import { prepareMemory } from './prepared-memory.ts';
import { stripElf } from './strip-elf.ts';

/**
 * Functions that return at once.
 * - UseDetailedSourcePositionsForProfiling walks V8's heap at each start, so that profiles that somebody might record
 *   have exact places.
 * - uv__iou_init maps two rings for each event loop, of which a process has three, so that several changes of what epoll
 *   watches are one system call. Without them libuv makes one call for each, as it does on kernels without io_uring.
 * - OPENSSL_cleanup frees at exit, piece by piece, memory that the kernel takes back anyway.
 */
const RETURN_AT_ONCE = [
  '_ZN2v811CpuProfiler38UseDetailedSourcePositionsForProfilingEPNS_7IsolateE',
  'uv__iou_init',
  'OPENSSL_cleanup',
];

/**
 * Whether absl's mutexes, which V8 locks with, look for deadlocks: a graph of 1 MB and a look-up for each lock, meant for
 * builds for debugging. It has the value of an enumeration whose 0 is to ignore them (absl/synchronization/mutex.h).
 */
const DEADLOCK_DETECTION = '_ZN4absl12_GLOBAL__N_124synch_deadlock_detectionE.0';

/**
 * V8's test for primes (detail::sprp in rapidhash's secret.h, of Miller and Rabin), which takes any number for one now. V8
 * makes three secret numbers for its hashes at each start, of random bytes, and goes on until they are primes: 2 of the 21 ms of
 * an empty program. They are masks for XOR: what they have to be is random, odd and different in half of their bits, and that
 * they still are.
 */
const PRIME_TEST = '_ZN6detailL4sprpEyy';

/** The instruction that returns from a function. */
const RETURN: Readonly<Record<number, Buffer>> = {
  [EM_X86_64]: Buffer.from([0xc3]),
  [EM_AARCH64]: Buffer.from([0xc0, 0x03, 0x5f, 0xd6]),
};

/** The instruction before it that makes the result 1: `mov eax, 1`, `mov w0, #1`. */
const RESULT_ONE: Readonly<Record<number, Buffer>> = {
  [EM_X86_64]: Buffer.from([0xb8, 0x01, 0x00, 0x00, 0x00]),
  [EM_AARCH64]: Buffer.from([0x20, 0x00, 0x80, 0x52]),
};

/**
 * What the memory of a program begins with: pages as they are used; V8's heap in huge pages (huge-heap.ts); or that and the
 * rest prepared, for a program of some tens of milliseconds (prepared-memory.ts).
 */
export type FirstMemory = 'as-used' | 'huge-heap' | 'prepared';

/**
 * Throws an Error when the executable lacks one of the functions: another version of Node, then, of which less is known.
 */
export function makeLeanNode(published: Buffer, memory: FirstMemory): Buffer {
  const patched = Buffer.from(published);
  const place = placesIn(published);
  const elf = parseElf(published);
  const instruction = RETURN[elf.machine];
  const resultOne = RESULT_ONE[elf.machine];
  if (instruction === undefined || resultOne === undefined) {
    throw new Error(`make lean node: unknown machine ${elf.machine}`);
  }
  for (const name of RETURN_AT_ONCE) {
    instruction.copy(patched, fileOffset(elf, place(name).address));
  }
  const primeTest = fileOffset(elf, place(PRIME_TEST).address);
  Buffer.concat([resultOne, instruction]).copy(patched, primeTest);
  patched.writeUInt32LE(0, fileOffset(elf, place(DEADLOCK_DETECTION).address));
  if (memory !== 'as-used') {
    const variables = { malloc: callSlot(elf, 'malloc'), free: callSlot(elf, 'free') };
    const unused = gapBeforeText(elf);
    const room =
      memory === 'prepared' ? prepareMemory(patched, { ...variables, room: unused }) : unused;
    const { table, allocate } = HUGE_HEAP_SYMBOLS;
    useHugeHeap(patched, { table: place(table), allocate: place(allocate), room });
  }
  return shortenDynamicSymbols(stripElf(patched), isAskedFor);
}

/**
 * The end of a page, which can be executed and which nothing is in: code begins at the next one. It lies within the first
 * 4.3 MB of the file, of which the loader needs what is around: a program that begins elsewhere would have more of its
 * code read into small pages before it can ask for large ones.
 */
function gapBeforeText({ sections, segments }: ElfFile): Place {
  const text = sections.find(({ name }) => name === '.text');
  const segment = segments.find(({ type, offset, fileSize }) => {
    return type === PT_LOAD && text !== undefined && isWithin(text.offset, offset, fileSize);
  });
  if (text === undefined || segment === undefined) {
    throw new Error('make lean node: the executable has no code');
  }
  const before = sections.filter(({ offset }) =>
    isWithin(offset, segment.offset, text.offset - segment.offset),
  );
  const ends = before.map(({ offset, size }) => offset + size);
  const ALIGNMENT = 16;
  const start = Math.ceil(Math.max(segment.offset, ...ends) / ALIGNMENT) * ALIGNMENT;
  return {
    address: segment.vaddr + start - segment.offset,
    size: Math.max(text.offset - start, 0),
  };
}

function isWithin(offset: number, start: number, size: number): boolean {
  return offset >= start && offset < start + size;
}

/** Finds functions and variables by name. */
function placesIn(executable: Buffer): (name: string) => Place {
  const elf = parseElf(executable);
  const table = elf.sections.find(({ name }) => name === '.symtab');
  const strings = elf.sections.find(({ name }) => name === '.strtab');
  if (table === undefined || strings === undefined) {
    throw new Error('make lean node: the executable is stripped already');
  }
  const places = new Map<string, Place>();
  for (let at = table.offset; at < table.offset + table.size; at += SYMBOL_BYTES) {
    places.set(symbolName(executable, strings.offset + executable.readUInt32LE(at)), {
      address: Number(executable.readBigUInt64LE(at + 8)),
      size: Number(executable.readBigUInt64LE(at + 16)),
    });
  }
  return (name) => {
    const place = places.get(name);
    if (place === undefined) throw new Error(`make lean node: the executable has no ${name}`);
    return place;
  };
}

/**
 * What addons ask of Node (ours asks for functions of Node-API alone), and what the C++ library shares with a program:
 * of some of its variables and type descriptions there must be one for all of a process.
 */
function isAskedFor(name: string): boolean {
  return (
    /^(?:napi_|node_api_|uv_)/.test(name) ||
    // A function, variable, table or guard of std, __gnu_cxx or __cxxabiv1; the type of a built-in type; new and delete.
    /^_Z(?:GV|GR|Z|T[ISVTC])*N?K?(?:S|9__gnu_cxx|10__cxxabiv1)/.test(name) ||
    /^_ZT[IS][a-zP]/.test(name) ||
    /^_Z(?:nw|na|dl|da)/.test(name)
  );
}
