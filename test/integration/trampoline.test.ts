// The machine code of internal/linux against a disassembler, and that of arm64 in an emulator.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { TRACED_TRAMPOLINE_ARM64 } from '../../internal/linux/program/traced-trampoline-arm64.ts';
import { TRACED_TRAMPOLINE_X64 } from '../../internal/linux/program/traced-trampoline-x64.ts';
import {
  assemble,
  type Instruction,
  type Listing,
} from '../../internal/linux/program/trampoline.ts';
import { TRAMPOLINE_ARM64 } from '../../internal/linux/program/trampoline-arm64.ts';
import { TRAMPOLINE_X64 } from '../../internal/linux/program/trampoline-x64.ts';
import { peer } from '../peers/index.ts';

const X64 = { disassembler: peer('objdump'), options: ['-m', 'i386:x86-64', '-M', 'intel'] };
const ARM64 = { disassembler: peer('objdump-aarch64'), options: ['-m', 'aarch64'] };
const LISTINGS = [
  { name: 'x86-64', listing: TRAMPOLINE_X64, ...X64 },
  { name: 'x86-64, traced', listing: TRACED_TRAMPOLINE_X64, ...X64 },
  { name: 'arm64', listing: TRAMPOLINE_ARM64, ...ARM64 },
  { name: 'arm64, traced', listing: TRACED_TRAMPOLINE_ARM64, ...ARM64 },
];

for (const { name, listing, disassembler, options } of LISTINGS) {
  const { path, skip } = disassembler;
  const disassemble = (code: Uint8Array) => disassembleWith(path, options, code);

  test(`trampoline for ${name}: its bytes are its assembly text`, { skip }, () => {
    assert.deepEqual(disassemble(assemble(listing)), expectedText(listing));
  });

  test(`trampoline for ${name}: a changed byte is seen`, { skip }, () => {
    const code = assemble(listing);
    const middle = code.length >> 1;
    code[middle] = (code[middle] ?? 0) ^ 0x40;
    assert.notDeepEqual(disassemble(code), expectedText(listing));
  });
}

/** Instructions as the disassembler prints them. */
function disassembleWith(command: string, options: readonly string[], code: Uint8Array): string[] {
  const directory = mkdtempSync(join(tmpdir(), 'trampoline-'));
  try {
    const file = join(directory, 'code');
    writeFileSync(file, code);
    const args = ['-D', '-b', 'binary', ...options, '--no-show-raw-insn', file];
    const { stdout, status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    return stdout
      .split('\n')
      .filter((line) => /^\s*[0-9a-f]+:\t/.test(line))
      .map((line) => normalize(line.replace(/^\s*[0-9a-f]+:\t/, '').replace(/\s*\/\/.*$/, '')));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The listing's own text, its labels replaced by their offsets. */
function expectedText(listing: Listing): string[] {
  const offsets = new Map<string, number>();
  const instructions: Instruction[] = [];
  let offset = 0;
  for (const line of listing) {
    if (line.length === 1) {
      offsets.set(line[0], offset);
    } else {
      instructions.push(line);
      offset += line[0].split(' ').length;
    }
  }
  return instructions.map(([, text]) => {
    const label = /[a-z]+$/.exec(text)?.[0] ?? '';
    const target = offsets.get(label);
    return normalize(
      target === undefined ? text : text.replace(/[a-z]+$/, `0x${target.toString(16)}`),
    );
  });
}

/** One blank between words; numbers in decimal. */
function normalize(text: string): string {
  return text
    .trim()
    .replace(/\s+/g, ' ')
    .replace(/0x[0-9a-f]+/g, (digits) => String(Number(digits)));
}
