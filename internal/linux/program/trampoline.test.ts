import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { ARGUMENTS, BYTES_PER_WORD, GREATEST_TOLERABLE_ERRNO, Special, Word } from './record.ts';
import { assemble, type Instruction, type Listing } from './trampoline.ts';
import { TRAMPOLINE_ARM64 } from './trampoline-arm64.ts';
import { TRAMPOLINE_X64 } from './trampoline-x64.ts';

const DISASSEMBLERS = [
  {
    name: 'x86-64',
    listing: TRAMPOLINE_X64,
    commands: ['objdump', 'x86_64-linux-gnu-objdump'],
    options: ['-m', 'i386:x86-64', '-M', 'intel'],
  },
  {
    name: 'arm64',
    listing: TRAMPOLINE_ARM64,
    commands: ['aarch64-linux-gnu-objdump'],
    options: ['-m', 'aarch64'],
  },
];

for (const { name, listing, commands, options } of DISASSEMBLERS) {
  const command = commands.find((candidate) => knowsMachine(candidate, name));
  const skip =
    command === undefined ? `no disassembler for ${name} (${commands.join(', ')})` : false;

  test(`trampoline for ${name}: its bytes are its assembly text`, { skip }, () => {
    assert.deepEqual(disassemble(command ?? '', options, assemble(listing)), expectedText(listing));
  });

  test(`trampoline for ${name}: one changed byte is seen`, { skip }, () => {
    const bytes = assemble(listing);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 0x40;
    assert.notDeepEqual(disassemble(command ?? '', options, bytes), expectedText(listing));
  });
}

function knowsMachine(command: string, machine: string): boolean {
  const { status, stdout } = spawnSync(command, ['--info'], { encoding: 'utf8' });
  return status === 0 && stdout.includes(machine === 'arm64' ? 'aarch64' : 'x86-64');
}

/** Instructions as the disassembler prints them, jump targets as offsets in decimal. */
function disassemble(command: string, options: readonly string[], code: Uint8Array): string[] {
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

test('trampolines: the offsets in their code are those of the record', () => {
  const offset = (word: number) => word * BYTES_PER_WORD;
  const x64 = texts(TRAMPOLINE_X64);
  const arm64 = texts(TRAMPOLINE_ARM64);
  for (let argument = 0; argument < ARGUMENTS; argument++) {
    assert.match(
      x64,
      new RegExp(`\\[rbx\\+0x${offset(Word.arguments + argument).toString(16)}\\]`),
    );
  }
  for (const word of [
    'result',
    'tolerated',
    'ifZero',
    'ifPositive',
    'ifTolerated',
    'ifFailed',
    'index',
  ] as const) {
    assert.match(x64, new RegExp(`\\[rbx\\+0x${offset(Word[word]).toString(16)}\\]`), word);
  }
  for (const word of ['result', 'ifZero', 'ifTolerated', 'ifFailed'] as const) {
    assert.match(arm64, new RegExp(`\\[x19, #${offset(Word[word])}\\]`), word);
  }
  assert.match(arm64, new RegExp(`add x10, x19, #${offset(Word.tolerated)}`));
  assert.equal(Word.ifPositive, Word.ifZero + 1, 'arm64 loads both at once');
  assert.equal(Word.index, Word.ifFailed + 1, 'arm64 loads both at once');
  assert.match(x64, new RegExp(`cmp rax,0x${GREATEST_TOLERABLE_ERRNO.toString(16)}`));
  assert.match(arm64, new RegExp(`cmp x0, #${GREATEST_TOLERABLE_ERRNO}`));
  assert.deepEqual(Special, { end: -1, check: -2 });
});

function texts(listing: Listing): string {
  return listing.map((line) => line[1] ?? line[0]).join('\n');
}
