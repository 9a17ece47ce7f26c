// Removes from an executable what is not needed to run it, as strip(1) does, so that the build needs no binutils: Node's
// own 150 MB are 34 MB of symbols and debug information. What the kernel and the loader read (the program headers and
// all that they point to) stays byte for byte where it was; what follows the last loaded byte is cut off, and a new
// section table with the sections that are in memory is written there, because postject wants one.
import { PT_LOAD, parseElf, SECTION_HEADER_BYTES, SHF_ALLOC, SHT_STRTAB } from './elf.ts';

/**
 * Returns a stripped copy of an ELF64 executable. Throws an Error when the file is no ELF64 file, or when something
 * that is loaded stands after the section table (a file of that shape was already changed by an injector; stripping
 * it would lose the injected part).
 */
export function stripElf(input: Buffer): Buffer {
  const elf = parseElf(input);
  if (elf.sections.length === 0) return Buffer.from(input);
  const end = elf.segments.map((s) => s.offset + s.fileSize).reduce((a, b) => Math.max(a, b), 0);
  const firstHeader = elf.sections[0]?.headerOffset ?? 0;
  if (firstHeader < end) throw new Error('strip elf: the section table is inside a segment');
  if (!elf.segments.some((s) => s.type === PT_LOAD)) {
    throw new Error('strip elf: no loadable segment');
  }

  // Index 0 is the empty section that the format demands. Allocated sections keep their order; the name table follows.
  const kept = elf.sections.filter((s, i) => i === 0 || (s.flags & SHF_ALLOC) !== 0);
  const newIndex = new Map(kept.map((s, i) => [elf.sections.indexOf(s), i]));
  const names = ['', ...kept.slice(1).map((s) => s.name), '.shstrtab'];
  const nameOffsets: number[] = [];
  let nameTable = '';
  for (const name of names) {
    nameOffsets.push(nameTable.length);
    nameTable += `${name}\0`;
  }
  const namesAt = end;
  const tableAt = Math.ceil((namesAt + nameTable.length) / 8) * 8;
  const output = Buffer.alloc(tableAt + (kept.length + 1) * SECTION_HEADER_BYTES);
  input.copy(output, 0, 0, end);
  output.write(nameTable, namesAt, 'latin1');

  kept.forEach((section, index) => {
    const at = tableAt + index * SECTION_HEADER_BYTES;
    input.copy(output, at, section.headerOffset, section.headerOffset + SECTION_HEADER_BYTES);
    output.writeUInt32LE(nameOffsets[index] ?? 0, at);
    // sh_link is always a section's index; sh_info is one only for relocations (SHF_INFO_LINK).
    output.writeUInt32LE(newIndex.get(input.readUInt32LE(section.headerOffset + 40)) ?? 0, at + 40);
    const SHF_INFO_LINK = 0x40;
    if ((section.flags & SHF_INFO_LINK) !== 0) {
      const info = newIndex.get(input.readUInt32LE(section.headerOffset + 44)) ?? 0;
      output.writeUInt32LE(info, at + 44);
    }
  });
  const last = tableAt + kept.length * SECTION_HEADER_BYTES;
  output.writeUInt32LE(nameOffsets[kept.length] ?? 0, last);
  output.writeUInt32LE(SHT_STRTAB, last + 4);
  output.writeBigUInt64LE(BigInt(namesAt), last + 24);
  output.writeBigUInt64LE(BigInt(nameTable.length), last + 32);
  output.writeBigUInt64LE(1n, last + 48);

  output.writeBigUInt64LE(BigInt(tableAt), 40);
  output.writeUInt16LE(kept.length + 1, 60);
  output.writeUInt16LE(kept.length, 62);
  return output;
}
