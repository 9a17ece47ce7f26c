// Makes of koffi's addon, as it was published, the one that is inside of our programs. Each of them writes it to a file when it
// makes its first system call (internal/linux/koffi.ts), so every page of it costs a command that lives for some tens of
// milliseconds. Six tenths are of no use to ours: symbols for 8,192 callbacks, which only the addon itself asks for, and how to
// unwind its stack for exceptions, of which it catches none. What is left moves together in the file; in memory code and
// variables are where they were.
import { moveTables, shortenDynamicSymbols } from './dynamic-symbols.ts';
import { type ElfFile, type ElfSection, EM_X86_64, PT_LOAD, parseElf } from './elf.ts';
import { stripElf } from './strip-elf.ts';

const PT_NULL = 0;
const PT_GNU_EH_FRAME = 0x6474e550;
const PAGE_BYTES = 4096;

/**
 * An addon for another machine than x86-64 stays as it is: nothing was measured. Throws an Error when the addon is made otherwise
 * than koffi's is.
 */
export function makeLeanKoffi(published: Buffer): Buffer {
  if (parseElf(published).machine !== EM_X86_64) return published;
  const isAskedFor = (name: string) => /^(?:napi_register_|node_api_module_)/.test(name);
  const bytes = shortenDynamicSymbols(stripElf(published), isAskedFor);
  const tablesEnd = packTables(parseElf(bytes));
  const unwinding = parseElf(bytes).segments.find(({ type }) => type === PT_GNU_EH_FRAME);
  if (unwinding === undefined) throw new Error('make lean koffi: nothing says how to unwind');
  return packSegments(parseElf(bytes), (offset, end) => {
    if (offset === 0) return tablesEnd;
    return unwinding.offset > offset && unwinding.offset < end ? unwinding.offset : end;
  });
}

/** Moves the tables of the first segment, most of which have become short, together; returns where they end now. */
function packTables(elf: ElfFile): number {
  const [first] = elf.segments;
  if (first?.type !== PT_LOAD || first.offset !== 0 || first.vaddr !== 0) {
    throw new Error('make lean koffi: the first segment is not the head of the file');
  }
  const tables = elf.sections
    .filter(({ offset, size }) => size > 0 && offset + size <= first.fileSize)
    .sort((a, b) => a.offset - b.offset);
  const places = new Map<number, number>();
  let end = 0;
  const moved = tables.map((table: ElfSection) => {
    const content = Buffer.from(elf.bytes.subarray(table.offset, table.offset + table.size));
    const place = end === 0 ? table.offset : Math.ceil(end / 8) * 8;
    places.set(table.offset, place);
    end = place + table.size;
    return { place, content };
  });
  moveTables(elf, (address) => {
    const place = places.get(address);
    if (place === undefined) throw new Error('make lean koffi: a table is in no section');
    return place;
  });
  for (const { place, content } of moved) content.copy(elf.bytes, place);
  return end;
}

/**
 * The file with one segment behind the other, each up to where `endOf` says (from its place and its end), and without a section
 * table, which the loader does not look at.
 */
function packSegments(elf: ElfFile, endOf: (offset: number, end: number) => number): Buffer {
  const { bytes, segments } = elf;
  const parts: { from: number; to: number; end: number }[] = [];
  let length = 0;
  for (const { type, offset, fileSize } of segments) {
    if (type !== PT_LOAD) continue;
    // The place in the file and that in memory have to be the same within a page.
    const to = Math.ceil(length / PAGE_BYTES) * PAGE_BYTES + (offset % PAGE_BYTES);
    parts.push({ from: offset, to, end: endOf(offset, offset + fileSize) });
    length = to + endOf(offset, offset + fileSize) - offset;
  }
  const packed = Buffer.alloc(length);
  for (const { from, to, end } of parts) bytes.copy(packed, to, from, end);
  const [TABLE, OFFSET, FILE_SIZE, MEMORY_SIZE, HEADER_BYTES] = [64, 8, 32, 40, 56];
  segments.forEach(({ type, offset, fileSize, memSize }, index) => {
    const at = TABLE + index * HEADER_BYTES;
    if (type === PT_GNU_EH_FRAME) {
      packed.fill(0, at, at + HEADER_BYTES).writeUInt32LE(PT_NULL, at);
      return;
    }
    const part = parts.find(({ from, end }) => offset >= from && offset + fileSize <= end);
    const own = parts.find(({ from }) => from === offset);
    if (type === PT_LOAD && own !== undefined) {
      packed.writeBigUInt64LE(BigInt(own.to), at + OFFSET);
      const size = own.end - own.from;
      packed.writeBigUInt64LE(BigInt(size), at + FILE_SIZE);
      // What is behind the end of the file's part are variables, which begin as zeros.
      packed.writeBigUInt64LE(BigInt(size + memSize - fileSize), at + MEMORY_SIZE);
    } else if (fileSize > 0) {
      if (part === undefined) throw new Error('make lean koffi: a segment is in none of the file');
      packed.writeBigUInt64LE(BigInt(offset - part.from + part.to), at + OFFSET);
    }
  });
  const [SECTIONS_OFFSET, SECTIONS_COUNT, SECTION_NAMES] = [40, 60, 62];
  packed.writeBigUInt64LE(0n, SECTIONS_OFFSET);
  packed.writeUInt16LE(0, SECTIONS_COUNT);
  packed.writeUInt16LE(0, SECTION_NAMES);
  return packed;
}
