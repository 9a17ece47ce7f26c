import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Arena } from './arena.ts';

const CHUNK_BYTES = 256 * 1024;

test('Arena: pieces are zeroed, word-aligned and do not overlap', () => {
  using arena = new Arena();
  const pieces = [1, 8, 3, 100, 7].map((size) => arena.allocate(size));
  let end = 0;
  for (const { address, bytes } of pieces) {
    assert.equal(address % 8, 0);
    assert.ok(address >= end);
    assert.ok(bytes.every((byte) => byte === 0));
    bytes.fill(0xff);
    end = address + bytes.length;
  }
});

test('Arena: what does not fit gets a mapping of its own, and the next one goes on', () => {
  using arena = new Arena();
  const first = arena.allocate(CHUNK_BYTES - 8);
  const exact = arena.allocate(8);
  assert.equal(exact.address, first.address + CHUNK_BYTES - 8);
  assert.equal(arena.mappedBytes, CHUNK_BYTES);
  const large = arena.allocate(3 * CHUNK_BYTES + 1);
  assert.equal(large.bytes.length, 3 * CHUNK_BYTES + 1);
  assert.equal(arena.mappedBytes, CHUNK_BYTES + 3 * CHUNK_BYTES + 4096);
  large.bytes.fill(1);
  assert.deepEqual(arena.copy(large.address + 3 * CHUNK_BYTES, 1), new Uint8Array([1]));
});

test('Arena.allocateText: UTF-8 and a NUL', () => {
  using arena = new Arena();
  const address = arena.allocateText('größe ☃ 🐋');
  const expected = Buffer.from('größe ☃ 🐋\0');
  assert.deepEqual(Buffer.from(arena.copy(address, expected.length)), expected);
  assert.equal(arena.allocateText('') % 8, 0);
});

test('Arena.allocateText: a text at the end of a chunk is not cut off', () => {
  using arena = new Arena();
  arena.allocate(CHUNK_BYTES - 16);
  const address = arena.allocateText('☃'.repeat(6));
  assert.equal(Buffer.from(arena.copy(address, 19)).toString(), `${'☃'.repeat(6)}\0`);
});

test('Arena.copy: outside of the arena nothing is read', () => {
  using arena = new Arena();
  const { address } = arena.allocate(8);
  const message = 'internal error: a copy from outside of the arena';
  assert.throws(() => arena.copy(address - 8, 8), { message });
  assert.throws(() => arena.copy(address, CHUNK_BYTES + 1), { message });
});

test('Arena: disposed, it is unmapped and its bytes are gone', () => {
  const arena = new Arena();
  const { address, bytes } = arena.allocate(8);
  const isMapped = () =>
    readFileSync('/proc/self/maps', 'latin1')
      .split('\n')
      .some((line) => {
        const [start = 0, end = 0] = (line.split(' ')[0] ?? '')
          .split('-')
          .map((digits) => Number.parseInt(digits, 16));
        return start <= address && address < end;
      });
  assert.ok(isMapped());
  arena[Symbol.dispose]();
  assert.equal(bytes.length, 0);
  assert.ok(!isMapped());
});
