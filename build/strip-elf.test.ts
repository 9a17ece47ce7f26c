import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { dynamicNeeds, interpreter, parseElf, SHF_ALLOC, SHT_NOBITS } from './elf.ts';
import { stripElf } from './strip-elf.ts';

const dir = mkdtempSync(join(tmpdir(), 'strip-elf-'));
after(() => rmSync(dir, { recursive: true }));

const original = readFileSync(process.execPath);
const stripped = stripElf(original);

test('the pinned Node shrinks by its symbols and debug information', () => {
  const removed = original.length - stripped.length;
  assert.ok(removed > 20_000_000, `only ${removed} bytes were removed`);
  const names = parseElf(stripped).sections.map((s) => s.name);
  assert.deepEqual(
    names.filter((n) => /^\.(symtab|strtab|debug|comment)/.test(n)),
    [],
  );
});

test('program headers and every loaded byte are those of the original', () => {
  const before = parseElf(original);
  const then = parseElf(stripped);
  assert.deepEqual(then.segments, before.segments);
  for (const s of before.segments) {
    // The first segment holds the file header, which says where the section table is.
    const range = [Math.max(s.offset, 64), s.offset + s.fileSize] as const;
    assert.ok(original.subarray(...range).equals(stripped.subarray(...range)));
  }
});

test('sections that are in memory keep name, place and links', () => {
  const before = parseElf(original).sections.filter((s) => (s.flags & SHF_ALLOC) !== 0);
  const then = parseElf(stripped).sections.filter((s) => (s.flags & SHF_ALLOC) !== 0);
  const view = (s: (typeof then)[number]) => [s.name, s.type, s.flags, s.offset, s.size];
  assert.deepEqual(then.map(view), before.map(view));
  assert.ok(then.some((s) => s.type === SHT_NOBITS && s.name === '.bss'));
});

test('the stripped program runs', () => {
  const path = join(dir, 'node');
  writeFileSync(path, stripped);
  chmodSync(path, 0o755);
  const run = spawnSync(path, ['-p', '6 * 7'], { encoding: 'utf8' });
  assert.deepEqual([run.status, run.stdout, run.stderr], [0, '42\n', '']);
});

test('stripping twice changes nothing more', () => {
  assert.ok(stripElf(stripped).equals(stripped));
});

test('the loader and the libraries of a program can be read', () => {
  const elf = parseElf(stripped);
  assert.match(interpreter(elf) ?? '', /^\/lib.*\/ld-linux/);
  assert.ok(dynamicNeeds(elf).needed.includes('libc.so.6'));
});

const bad: [string, Buffer, RegExp][] = [
  ['empty', Buffer.alloc(0), /^parse elf: not a 64-bit little-endian ELF file$/],
  ['text', Buffer.from('#!/bin/sh\n'.repeat(20)), /^parse elf: not a 64-bit/],
  ['cut off', original.subarray(0, 4096), /^parse elf: section headers reach past the end$/],
];
for (const [name, bytes, message] of bad) {
  test(`refuses a file that is ${name}`, () => {
    assert.throws(
      () => stripElf(bytes),
      (e: unknown) => e instanceof Error && message.test(e.message),
    );
  });
}
