// The parts of an ELF64 little-endian file (x86-64 and arm64 are both) that the build and the test fixtures read:
// program headers, section headers and the dynamic section. Source: System V gABI chapter 4 and 5, man 5 elf.

/** A program header: what the kernel and the loader map. */
export interface ElfSegment {
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly vaddr: number;
  readonly fileSize: number;
  readonly memSize: number;
}

/** A section header: what linkers, debuggers and tools such as postject look at; the kernel does not. */
export interface ElfSection {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly size: number;
  /** Where the header itself stands in the file. */
  readonly headerOffset: number;
}

/** An ELF file as far as it was parsed; `bytes` is the whole file. */
export interface ElfFile {
  readonly bytes: Buffer;
  readonly machine: number;
  readonly segments: readonly ElfSegment[];
  readonly sections: readonly ElfSection[];
}

/** Where the memory of a function or variable begins, and how much it has. */
export interface Place {
  readonly address: number;
  readonly size: number;
}

/** Program header types: a loadable segment, the dynamic section, the path of the loader. */
export const PT_LOAD = 1;
export const PT_DYNAMIC = 2;
export const PT_INTERP = 3;
/** Section types: string table, and one that takes no room in the file. */
export const SHT_STRTAB = 3;
export const SHT_NOBITS = 8;
/** Section flag: it is in memory at run time. */
export const SHF_ALLOC = 2;
/** Sizes of the two kinds of header, and of the file's own. */
export const SECTION_HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const FILE_HEADER_BYTES = 64;
/** Size of an entry of a symbol table. */
export const SYMBOL_BYTES = 24;
/** Machines: e_machine of the two architectures that the project builds for. */
export const EM_X86_64 = 62;
export const EM_AARCH64 = 183;

/** Whether the bytes begin as a 64-bit little-endian ELF file does. */
export function isElf(bytes: Uint8Array): boolean {
  return (
    bytes.length >= FILE_HEADER_BYTES &&
    bytes[0] === 0x7f &&
    bytes[1] === 0x45 &&
    bytes[2] === 0x4c &&
    bytes[3] === 0x46 &&
    bytes[4] === 2 &&
    bytes[5] === 1
  );
}

/** Parses the headers. Throws an Error that names what is wrong when the file is not ELF64 or is cut off. */
export function parseElf(bytes: Buffer): ElfFile {
  if (!isElf(bytes)) throw new Error('parse elf: not a 64-bit little-endian ELF file');
  const machine = bytes.readUInt16LE(18);
  const segmentTable = Number(bytes.readBigUInt64LE(32));
  const sectionTable = Number(bytes.readBigUInt64LE(40));
  const segmentCount = bytes.readUInt16LE(56);
  const sectionCount = bytes.readUInt16LE(60);
  const nameSection = bytes.readUInt16LE(62);
  need(bytes, segmentTable, segmentCount * PROGRAM_HEADER_BYTES, 'program headers');
  need(bytes, sectionTable, sectionCount * SECTION_HEADER_BYTES, 'section headers');
  const segments: ElfSegment[] = [];
  for (let i = 0; i < segmentCount; i++) {
    const at = segmentTable + i * PROGRAM_HEADER_BYTES;
    segments.push({
      type: bytes.readUInt32LE(at),
      flags: bytes.readUInt32LE(at + 4),
      offset: Number(bytes.readBigUInt64LE(at + 8)),
      vaddr: Number(bytes.readBigUInt64LE(at + 16)),
      fileSize: Number(bytes.readBigUInt64LE(at + 32)),
      memSize: Number(bytes.readBigUInt64LE(at + 40)),
    });
  }
  const namesAt =
    sectionCount > 0
      ? Number(bytes.readBigUInt64LE(sectionTable + nameSection * SECTION_HEADER_BYTES + 24))
      : 0;
  const sections: ElfSection[] = [];
  for (let i = 0; i < sectionCount; i++) {
    const at = sectionTable + i * SECTION_HEADER_BYTES;
    sections.push({
      name: cString(bytes, namesAt + bytes.readUInt32LE(at)),
      type: bytes.readUInt32LE(at + 4),
      flags: Number(bytes.readBigUInt64LE(at + 8)),
      offset: Number(bytes.readBigUInt64LE(at + 24)),
      size: Number(bytes.readBigUInt64LE(at + 32)),
      headerOffset: at,
    });
  }
  return { bytes, machine, segments, sections };
}

/** The path of the loader (PT_INTERP), or undefined for a static program or a library. */
export function interpreter(elf: ElfFile): string | undefined {
  const segment = elf.segments.find((s) => s.type === PT_INTERP);
  return segment === undefined ? undefined : cString(elf.bytes, segment.offset);
}

/** What a dynamic file asks for: its DT_NEEDED names and its library search path (DT_RPATH, DT_RUNPATH). */
export interface DynamicNeeds {
  readonly needed: readonly string[];
  readonly searchPath: readonly string[];
}

/** Reads the dynamic section; a static program needs nothing. */
export function dynamicNeeds(elf: ElfFile): DynamicNeeds {
  const segment = elf.segments.find((s) => s.type === PT_DYNAMIC);
  if (segment === undefined) return { needed: [], searchPath: [] };
  const DT_NEEDED = 1;
  const DT_STRTAB = 5;
  const DT_RPATH = 15;
  const DT_RUNPATH = 29;
  const names: number[] = [];
  const paths: number[] = [];
  let strings = 0;
  for (let at = segment.offset; at + 16 <= segment.offset + segment.fileSize; at += 16) {
    const tag = Number(elf.bytes.readBigInt64LE(at));
    const value = Number(elf.bytes.readBigUInt64LE(at + 8));
    if (tag === 0) break;
    if (tag === DT_NEEDED) names.push(value);
    else if (tag === DT_STRTAB) strings = fileOffset(elf, value);
    else if (tag === DT_RPATH || tag === DT_RUNPATH) paths.push(value);
  }
  return {
    needed: names.map((offset) => cString(elf.bytes, strings + offset)),
    searchPath: paths.flatMap((offset) => cString(elf.bytes, strings + offset).split(':')),
  };
}

/** Where in the file the byte of an address is. */
export function fileOffset(elf: ElfFile, address: number): number {
  for (const s of elf.segments) {
    if (s.type === PT_LOAD && address >= s.vaddr && address < s.vaddr + s.fileSize) {
      return address - s.vaddr + s.offset;
    }
  }
  throw new Error(`parse elf: address 0x${address.toString(16)} is in no loadable segment`);
}

function need(bytes: Buffer, offset: number, size: number, what: string): void {
  if (offset + size > bytes.length) throw new Error(`parse elf: ${what} reach past the end`);
}

/** A name in a table of strings. */
export function symbolName(bytes: Buffer, offset: number): string {
  return cString(bytes, offset);
}

function cString(bytes: Buffer, offset: number): string {
  const end = bytes.indexOf(0, offset);
  if (offset < 0 || end < 0) throw new Error('parse elf: a string reaches past the end');
  return bytes.toString('latin1', offset, end);
}
