import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { shortenDynamicSymbols } from './dynamic-symbols.ts';
import { dynamicNeeds, parseElf, symbolName } from './elf.ts';
import { stripElf } from './strip-elf.ts';

const original = stripElf(readFileSync(process.execPath));
const isKept = (name: string) => /^(?:napi_|uv_)/.test(name);
const shortened = shortenDynamicSymbols(original, isKept);

/** Looks a name up as the loader does: filter, bucket, chain. */
function lookUp(bytes: Buffer, name: string): string | undefined {
  const elf = parseElf(bytes);
  const at = (section: string) => {
    const found = elf.sections.find((each) => each.name === section);
    assert.ok(found);
    return found.offset;
  };
  const table = at('.gnu.hash');
  const word = (index: number) => bytes.readUInt32LE(table + index * 4);
  const [bucketCount, first, filterWords, shift] = [word(0), word(1), word(2), word(3)];
  let hash = 5381n;
  for (const byte of Buffer.from(name)) hash = (hash * 33n + BigInt(byte)) & 0xffffffffn;
  const key = Number(hash);
  const filter = bytes.readBigUInt64LE(table + 16 + (Math.floor(key / 64) % filterWords) * 8);
  const bits = (1n << (hash % 64n)) | (1n << ((hash >> BigInt(shift)) % 64n));
  if ((filter & bits) !== bits) return undefined;
  const buckets = 4 + filterWords * 2;
  let index = word(buckets + (key % bucketCount));
  if (index === 0) return undefined;
  for (; ; index++) {
    const link = word(buckets + bucketCount + index - first);
    if ((link | 1) >>> 0 === (key | 1) >>> 0) {
      const found = symbolName(
        bytes,
        at('.dynstr') + bytes.readUInt32LE(at('.dynsym') + index * 24),
      );
      if (found === name) return found;
    }
    if ((link & 1) === 1) return undefined;
  }
}

function symbols(bytes: Buffer): { name: string; isDefined: boolean; value: bigint }[] {
  const elf = parseElf(bytes);
  const table = elf.sections.find(({ name }) => name === '.dynsym');
  const strings = elf.sections.find(({ name }) => name === '.dynstr');
  assert.ok(table && strings);
  const found = [];
  for (let at = table.offset; at < table.offset + table.size; at += 24) {
    found.push({
      name: symbolName(bytes, strings.offset + bytes.readUInt32LE(at)),
      isDefined: bytes.readUInt16LE(at + 6) !== 0,
      value: bytes.readBigUInt64LE(at + 8),
    });
  }
  return found;
}

test('each symbol that is kept is found by its hash, with its value, and no other', () => {
  const before = symbols(original).filter(({ name, isDefined }) => isDefined && isKept(name));
  assert.ok(before.length > 400, `${before.length} functions of Node-API and libuv`);
  const after = symbols(shortened);
  const values = new Map(after.map(({ name, value }) => [name, value]));
  for (const { name, value } of before) {
    assert.equal(lookUp(original, name), name);
    assert.equal(lookUp(shortened, name), name);
    assert.equal(values.get(name), value);
  }
  const dropped = symbols(original).filter(({ name }) => !values.has(name));
  assert.ok(dropped.length > 40_000, `${dropped.length} symbols are dropped`);
  for (const { name } of dropped.slice(0, 500)) assert.equal(lookUp(shortened, name), undefined);
});

test('libraries, search paths and imported symbols stay', () => {
  assert.deepEqual(dynamicNeeds(parseElf(shortened)), dynamicNeeds(parseElf(original)));
  const imports = (bytes: Buffer) => {
    return symbols(bytes)
      .filter(({ isDefined }) => !isDefined)
      .map(({ name }) => name);
  };
  assert.deepEqual(imports(shortened), imports(original));
});

test('nothing moves: the file keeps its length, its segments and where its sections begin', () => {
  const [before, after] = [parseElf(original), parseElf(shortened)];
  assert.equal(shortened.length, original.length);
  assert.deepEqual(after.segments, before.segments);
  const begin = ({ name, offset }: { name: string; offset: number }) => [name, offset];
  assert.deepEqual(after.sections.map(begin), before.sections.map(begin));
});
