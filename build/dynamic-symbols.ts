// Shortens what the dynamic loader reads of Node's executable at each start. Node exports its 47,000 symbols for addons
// and looks up a thousand of its own there; each of the 5,000 look-ups of a start (most are libstdc++'s) asks Node's table
// first, which is 4 MB. Our programs load one addon. Here the executable's own symbols are bound for good, and its table
// is made anew with what is still asked for. The file's layout stays: each table takes a part of the room it had.
// Source: System V gABI chapter 5; psABI of x86-64 and AArch64 (relocations); "ELF: symbol hash" of the GNU tools.
import {
  type ElfFile,
  EM_AARCH64,
  EM_X86_64,
  fileOffset,
  PT_DYNAMIC,
  parseElf,
  SYMBOL_BYTES,
  symbolName,
} from './elf.ts';

/** Entries of the dynamic section. */
const DT = {
  null: 0,
  needed: 1,
  pltRelSize: 2,
  hash: 4,
  strTab: 5,
  symTab: 6,
  rela: 7,
  relaSize: 8,
  strSize: 10,
  soName: 14,
  rPath: 15,
  jmpRel: 23,
  runPath: 29,
  flags: 30,
  gnuHash: 0x6ffffef5,
  verSym: 0x6ffffff0,
  verDef: 0x6ffffffc,
  verNeed: 0x6ffffffe,
} as const;

/** Relocations that say no more than a symbol's address, that of a call, which does too, and the one that says a number. */
interface Relocations {
  readonly address: readonly number[];
  readonly call: number;
  readonly relative: number;
}
const RELOCATIONS: Readonly<Record<number, Relocations>> = {
  // R_X86_64_64, _GLOB_DAT; _JUMP_SLOT; _RELATIVE
  [EM_X86_64]: { address: [1, 6], call: 7, relative: 8 },
  // R_AARCH64_ABS64, _GLOB_DAT; _JUMP_SLOT; _RELATIVE
  [EM_AARCH64]: { address: [257, 1025], call: 1026, relative: 1027 },
};

const DF_BIND_NOW = 8;
const RELA_BYTES = 24;
const STT_TLS = 6;
const STT_GNU_IFUNC = 10;

interface DynamicSymbol {
  readonly name: string;
  /** The entry as it is, but for its name. */
  readonly bytes: Buffer;
  readonly version: number;
  readonly isDefined: boolean;
  readonly type: number;
  readonly value: bigint;
}

/**
 * Returns a copy of an executable, or of a library that nobody else's symbols shall stand in for, in which only symbols
 * that are imported, copied from libraries or for which `isKept` says so are left in the dynamic symbol table. Throws an
 * Error when the file is made otherwise than Node's are.
 */
export function shortenDynamicSymbols(input: Buffer, isKept: (name: string) => boolean): Buffer {
  const bytes = Buffer.from(input);
  const elf = parseElf(bytes);
  const dynamic = new DynamicSection(elf);
  for (const absent of [DT.hash, DT.verDef]) {
    if (dynamic.has(absent)) throw new Error(`shorten symbols: unexpected dynamic entry ${absent}`);
  }
  const symbols = readSymbols(elf, dynamic);
  const asked = bindOwnSymbols(elf, dynamic, symbols);
  const kept = symbols.filter((symbol, index) => {
    return index === 0 || !symbol.isDefined || asked.has(index) || isKept(symbol.name);
  });
  const strings = new StringTable();
  dynamic.renameStrings(strings);
  renameVersions(elf, dynamic, strings);
  const ordered = writeSymbols(elf, kept, strings);
  const newIndex = new Map(ordered.map((symbol, index) => [symbols.indexOf(symbol), index]));
  for (const at of relocationsOf(dynamic)) {
    const symbol = newIndex.get(bytes.readUInt32LE(at + 12));
    if (symbol === undefined) throw new Error('shorten symbols: a relocation lost its symbol');
    bytes.writeUInt32LE(symbol, at + 12);
  }
  replaceSection(elf, '.dynstr', strings.bytes());
  dynamic.set(DT.strSize, strings.bytes().length);
  return bytes;
}

/** Tells a file where its tables are now: `place` is asked with the address of each. */
export function moveTables(elf: ElfFile, place: (address: number) => number): void {
  const dynamic = new DynamicSection(elf);
  for (const tag of [DT.strTab, DT.symTab, DT.rela, DT.jmpRel, DT.gnuHash, DT.verSym, DT.verNeed]) {
    dynamic.set(tag, place(dynamic.get(tag)));
  }
}

/** The address of the variable through which an executable calls the function `name` of a library. */
export function callSlot(elf: ElfFile, name: string): number {
  const dynamic = new DynamicSection(elf);
  const symbols = readSymbols(elf, dynamic);
  const start = dynamic.offset(DT.jmpRel);
  for (let at = start; at < start + dynamic.get(DT.pltRelSize); at += RELA_BYTES) {
    if (symbols[elf.bytes.readUInt32LE(at + 12)]?.name !== name) continue;
    return Number(elf.bytes.readBigUInt64LE(at));
  }
  throw new Error(`the executable does not call ${name}`);
}

/** The dynamic section: tags and values, in place. */
class DynamicSection {
  readonly #elf: ElfFile;
  readonly #places = new Map<number, number[]>();

  constructor(elf: ElfFile) {
    this.#elf = elf;
    const segment = elf.segments.find(({ type }) => type === PT_DYNAMIC);
    if (segment === undefined) throw new Error('shorten symbols: the executable is static');
    for (let at = segment.offset; at < segment.offset + segment.fileSize; at += 16) {
      const tag = Number(elf.bytes.readBigUInt64LE(at));
      if (tag === DT.null) break;
      this.#places.set(tag, [...(this.#places.get(tag) ?? []), at + 8]);
    }
  }

  has(tag: number): boolean {
    return this.#places.has(tag);
  }

  get(tag: number): number {
    const [at] = this.#places.get(tag) ?? [];
    if (at === undefined) throw new Error(`shorten symbols: no dynamic entry ${tag}`);
    return Number(this.#elf.bytes.readBigUInt64LE(at));
  }

  set(tag: number, value: number): void {
    for (const at of this.#places.get(tag) ?? [])
      this.#elf.bytes.writeBigUInt64LE(BigInt(value), at);
  }

  /** Where in the file a table is whose address the entry has. */
  offset(tag: number): number {
    return fileOffset(this.#elf, this.get(tag));
  }

  /** A string of the table that the file has, before it is made anew. */
  string(offset: number): string {
    return symbolName(this.#elf.bytes, this.offset(DT.strTab) + offset);
  }

  /** Names of libraries and search paths. */
  renameStrings(strings: StringTable): void {
    for (const tag of [DT.needed, DT.soName, DT.rPath, DT.runPath]) {
      for (const at of this.#places.get(tag) ?? []) {
        const name = this.string(Number(this.#elf.bytes.readBigUInt64LE(at)));
        this.#elf.bytes.writeBigUInt64LE(BigInt(strings.add(name)), at);
      }
    }
  }
}

class StringTable {
  readonly #places = new Map([['', 0]]);
  #text = '\0';

  add(text: string): number {
    const known = this.#places.get(text);
    if (known !== undefined) return known;
    const place = this.#text.length;
    this.#places.set(text, place);
    this.#text += `${text}\0`;
    return place;
  }

  bytes(): Buffer {
    return Buffer.from(this.#text, 'latin1');
  }
}

function readSymbols(elf: ElfFile, dynamic: DynamicSection): DynamicSymbol[] {
  const table = sectionOf(elf, '.dynsym');
  const versions = dynamic.offset(DT.verSym);
  const symbols: DynamicSymbol[] = [];
  for (let at = table.offset; at < table.offset + table.size; at += SYMBOL_BYTES) {
    const bytes = Buffer.from(elf.bytes.subarray(at, at + SYMBOL_BYTES));
    symbols.push({
      name: dynamic.string(bytes.readUInt32LE(0)),
      bytes,
      version: elf.bytes.readUInt16LE(versions + symbols.length * 2),
      isDefined: bytes.readUInt16LE(6) !== 0,
      type: bytes.readUInt8(4) & 0xf,
      value: bytes.readBigUInt64LE(8),
    });
  }
  return symbols;
}

/** The places of the relocations in the file. */
function relocationsOf(dynamic: DynamicSection): number[] {
  const places: number[] = [];
  for (const [table, size] of [
    [DT.rela, DT.relaSize],
    [DT.jmpRel, DT.pltRelSize],
  ] as const) {
    const start = dynamic.offset(table);
    for (let at = start; at < start + dynamic.get(size); at += RELA_BYTES) places.push(at);
  }
  return places;
}

/**
 * The loader looks an executable's symbols up in the executable first: what it would find there is written into the
 * relocation. Returns the indices of the symbols that relocations still name.
 */
function bindOwnSymbols(
  elf: ElfFile,
  dynamic: DynamicSection,
  symbols: readonly DynamicSymbol[],
): Set<number> {
  const relocations = RELOCATIONS[elf.machine];
  if (relocations === undefined) throw new Error('shorten symbols: not for this machine');
  // Calls are otherwise bound when they are made first, and then the loader wants to see nothing else among them.
  const areCallsBoundAtOnce = dynamic.has(DT.flags) && (dynamic.get(DT.flags) & DF_BIND_NOW) !== 0;
  const bindable = [...relocations.address, ...(areCallsBoundAtOnce ? [relocations.call] : [])];
  const asked = new Set<number>();
  for (const at of relocationsOf(dynamic)) {
    const type = elf.bytes.readUInt32LE(at + 8);
    const index = elf.bytes.readUInt32LE(at + 12);
    const symbol = symbols[index];
    if (symbol === undefined) throw new Error('shorten symbols: a relocation of no symbol');
    // The address of an indirect function is what the function returns, that of a thread's variable depends on the thread.
    const isPlain = symbol.type !== STT_GNU_IFUNC && symbol.type !== STT_TLS;
    if (!symbol.isDefined || !isPlain || !bindable.includes(type)) {
      asked.add(index);
      continue;
    }
    const addend = elf.bytes.readBigInt64LE(at + 16);
    elf.bytes.writeUInt32LE(relocations.relative, at + 8);
    elf.bytes.writeUInt32LE(0, at + 12);
    elf.bytes.writeBigInt64LE(symbol.value + addend, at + 16);
  }
  return asked;
}

/** Names in the list of versions that libraries must have (DT_VERNEED). */
function renameVersions(elf: ElfFile, dynamic: DynamicSection, strings: StringTable): void {
  const rename = (at: number): void => {
    const name = dynamic.string(elf.bytes.readUInt32LE(at));
    elf.bytes.writeUInt32LE(strings.add(name), at);
  };
  let file = dynamic.offset(DT.verNeed);
  for (;;) {
    rename(file + 4);
    let version = file + elf.bytes.readUInt32LE(file + 8);
    for (;;) {
      rename(version + 8);
      const next = elf.bytes.readUInt32LE(version + 12);
      if (next === 0) break;
      version += next;
    }
    const next = elf.bytes.readUInt32LE(file + 12);
    if (next === 0) return;
    file += next;
  }
}

/** Writes symbols, their versions and the hash table; returns the symbols in their new order. */
function writeSymbols(
  elf: ElfFile,
  kept: readonly DynamicSymbol[],
  strings: StringTable,
): DynamicSymbol[] {
  const imported = kept.filter(({ isDefined }) => !isDefined);
  const hashed = kept
    .filter(({ isDefined }) => isDefined)
    .map((symbol) => ({ symbol, hash: gnuHash(symbol.name) }));
  const bucketCount = Math.max(1, Math.ceil(hashed.length / 2));
  hashed.sort((a, b) => (a.hash % bucketCount) - (b.hash % bucketCount));
  const ordered = [...imported, ...hashed.map(({ symbol }) => symbol)];

  const table = Buffer.alloc(ordered.length * SYMBOL_BYTES);
  const versions = Buffer.alloc(ordered.length * 2);
  ordered.forEach(({ name, bytes, version }, index) => {
    bytes.copy(table, index * SYMBOL_BYTES);
    table.writeUInt32LE(strings.add(name), index * SYMBOL_BYTES);
    versions.writeUInt16LE(version, index * 2);
  });
  const hashes = hashed.map(({ hash }) => hash);
  replaceSection(elf, '.dynsym', table);
  replaceSection(elf, '.gnu.version', versions);
  replaceSection(elf, '.gnu.hash', hashTable(hashes, imported.length, bucketCount));
  return ordered;
}

/** The hash of a name in a table of the GNU kind. */
function gnuHash(name: string): number {
  let hash = 5381;
  for (const byte of Buffer.from(name, 'latin1')) hash = (Math.imul(hash, 33) + byte) >>> 0;
  return hash;
}

/** A table of the GNU kind for symbols from index `first` on, which are ordered by bucket. */
function hashTable(hashes: readonly number[], first: number, bucketCount: number): Buffer {
  // Some 16 bits of the filter for each symbol: most look-ups are for names that are not there, and end at the filter.
  const words = 2 ** Math.ceil(Math.log2(Math.max(1, hashes.length / 4)));
  const shift = 10;
  const filter = new BigUint64Array(words);
  const buckets = new Uint32Array(bucketCount);
  const chain = new Uint32Array(hashes.length);
  hashes.forEach((hash, index) => {
    const word = Math.floor(hash / 64) % words;
    const bits = (1n << BigInt(hash % 64)) | (1n << BigInt((hash >>> shift) % 64));
    filter[word] = (filter[word] ?? 0n) | bits;
    const bucket = hash % bucketCount;
    if (buckets[bucket] === 0) buckets[bucket] = first + index;
    const next = hashes[index + 1];
    const isLast = next === undefined || next % bucketCount !== bucket;
    chain[index] = ((hash & ~1) | (isLast ? 1 : 0)) >>> 0;
  });
  const head = Uint32Array.of(bucketCount, first, words, shift);
  return Buffer.concat([head, filter, buckets, chain].map((part) => Buffer.from(part.buffer)));
}

function sectionOf(elf: ElfFile, name: string) {
  const section = elf.sections.find((each) => each.name === name);
  if (section === undefined) throw new Error(`shorten symbols: no section ${name}`);
  return section;
}

/** Writes a shorter section in the place of one; zeros are left behind it. */
function replaceSection(elf: ElfFile, name: string, content: Buffer): void {
  const { offset, size, headerOffset } = sectionOf(elf, name);
  if (content.length > size) throw new Error(`shorten symbols: ${name} would grow`);
  elf.bytes.fill(0, offset, offset + size);
  content.copy(elf.bytes, offset);
  const SIZE_FIELD = 32;
  elf.bytes.writeBigUInt64LE(BigInt(content.length), headerOffset + SIZE_FIELD);
}
