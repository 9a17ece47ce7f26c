// Executables of some hundred bytes that need no libraries and no loader.

/** Where the file is in memory. */
const BASE = 0x400000;
const ELF_HEADER_BYTES = 64;
const PROGRAM_HEADER_BYTES = 56;
const CODE_OFFSET = ELF_HEADER_BYTES + PROGRAM_HEADER_BYTES;

/** An ELF file (man 5 elf) for `machine` (e_machine) that runs `code` from its start: one segment, which is the whole file. */
export function staticExecutable(machine: number, code: Buffer): Buffer {
  const file = Buffer.concat([Buffer.alloc(CODE_OFFSET), code]);
  file.write('\x7fELF', 0, 'latin1');
  file.set([2, 1, 1], 4); // 64 bits, little endian, version
  file.writeUInt16LE(2, 16); // ET_EXEC
  file.writeUInt16LE(machine, 18);
  file.writeUInt32LE(1, 20);
  file.writeBigUInt64LE(BigInt(BASE + CODE_OFFSET), 24); // entry
  file.writeBigUInt64LE(BigInt(ELF_HEADER_BYTES), 32); // program headers
  file.writeUInt16LE(ELF_HEADER_BYTES, 52);
  file.writeUInt16LE(PROGRAM_HEADER_BYTES, 54);
  file.writeUInt16LE(1, 56);
  const header = file.subarray(ELF_HEADER_BYTES);
  header.writeUInt32LE(1, 0); // PT_LOAD
  header.writeUInt32LE(5, 4); // PF_R | PF_X
  header.writeBigUInt64LE(BigInt(BASE), 16);
  header.writeBigUInt64LE(BigInt(BASE), 24);
  header.writeBigUInt64LE(BigInt(file.length), 32);
  header.writeBigUInt64LE(BigInt(file.length), 40);
  header.writeBigUInt64LE(0x1000n, 48);
  return file;
}
