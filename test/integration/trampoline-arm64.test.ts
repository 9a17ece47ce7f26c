// A system call program for arm64, run by an emulator. It needs nothing of Node: an executable file is made of the
// trampoline, eight instructions before it and the program's records and strings behind it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { check, Memory, type Step, steps } from '../../internal/linux/index.ts';
import type { ProgramMemory } from '../../internal/linux/program/arena.ts';
import { ProgramPlacement } from '../../internal/linux/program/placement.ts';
import { REPORT_BYTES } from '../../internal/linux/program/record.ts';
import { type Parts, Sequence } from '../../internal/linux/program/sequence.ts';
import { assemble, type Listing } from '../../internal/linux/program/trampoline.ts';
import { TRAMPOLINE_ARM64 } from '../../internal/linux/program/trampoline-arm64.ts';
import { peer } from '../peers/index.ts';

const qemu = peer('qemu-aarch64');

/** Calls the trampoline and exits with the errno of its report; `first` and `report` follow as words. */
const START: Listing = [
  ['00 01 00 58', 'ldr x0, first', ''],
  ['21 01 00 58', 'ldr x1, report', ''],
  ['0a 00 00 94', 'bl trampoline', ''],
  ['e1 00 00 58', 'ldr x1, report', ''],
  ['20 00 40 f9', 'ldr x0, [x1]', ''],
  ['c8 0b 80 d2', 'mov x8, #94', 'exit_group'],
  ['01 00 00 d4', 'svc #0', ''],
  ['1f 20 03 d5', 'nop', 'for alignment'],
];

const BASE = 0x400000;
const FILE_BYTES = 64 * 1024;
const HEADERS_BYTES = 64 + 56;

/** The bytes of a file that is mapped as it is, handed out from its beginning on. */
class Image implements ProgramMemory {
  readonly bytes = Buffer.alloc(FILE_BYTES);
  #used = 0;

  allocate(bytes: number): { address: number; bytes: Uint8Array } {
    const start = Math.ceil(this.#used / 8) * 8;
    this.#used = start + bytes;
    return { address: BASE + start, bytes: this.bytes.subarray(start, start + bytes) };
  }

  allocateText(text: string): number {
    const { address, bytes } = this.allocate(Buffer.byteLength(text) + 1);
    bytes.set(Buffer.from(text));
    return address;
  }
}

/** An ELF executable of one segment that may be read, written and executed (man 5 elf). */
function writeHeaders(image: Buffer, entry: number): void {
  image.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]); // ELF, 64 bits, little endian
  image.writeUInt16LE(2, 16); // ET_EXEC
  image.writeUInt16LE(183, 18); // EM_AARCH64
  image.writeUInt32LE(1, 20);
  image.writeBigUInt64LE(BigInt(entry), 24);
  image.writeBigUInt64LE(64n, 32); // program headers
  image.writeUInt16LE(64, 52);
  image.writeUInt16LE(56, 54);
  image.writeUInt16LE(1, 56);
  image.writeUInt32LE(1, 64); // PT_LOAD
  image.writeUInt32LE(7, 68); // read, write, execute
  image.writeBigUInt64LE(BigInt(BASE), 80);
  image.writeBigUInt64LE(BigInt(BASE), 88);
  image.writeBigUInt64LE(BigInt(image.length), 96);
  image.writeBigUInt64LE(BigInt(image.length), 104);
  image.writeBigUInt64LE(4096n, 112);
}

function runOnArm64(build: (main: Sequence) => void): { output: string; errno: number | null } {
  const report = new Memory(REPORT_BYTES, () => 'report');
  const parts: Parts = { items: [], report, announcements: new Map() };
  const end = new Sequence(parts);
  end.add({ label: 'return', call: 'end', args: [] });
  const body = new Sequence(parts);
  build(body);

  const image = new Image();
  image.allocate(HEADERS_BYTES);
  const start = image.allocate(START.length * 4);
  start.bytes.set(assemble(START));
  const words = image.allocate(16);
  const trampoline = assemble(TRAMPOLINE_ARM64);
  image.allocate(trampoline.length).bytes.set(trampoline);
  const process = { body, end, failure: end };
  const placement = new ProgramPlacement(image, parts.items, process, 'arm64');
  const view = new DataView(words.bytes.buffer, words.bytes.byteOffset, words.bytes.length);
  view.setBigUint64(0, BigInt(placement.first), true);
  view.setBigUint64(8, BigInt(placement.memory(report)), true);
  writeHeaders(image.bytes, start.address);

  const directory = mkdtempSync(join(tmpdir(), 'arm64-'));
  try {
    const file = join(directory, 'program');
    writeFileSync(file, image.bytes, { mode: 0o700 });
    const { stdout, status } = spawnSync(qemu.path, [file], { encoding: 'latin1' });
    return { output: stdout, errno: status };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const say = (text: string): Step => steps.write(1, text);
/** The emulator has no clone3. */
const SIGCHLD = 17;
const fork: Step = { label: 'fork', call: 'clone', args: [SIGCHLD, 0, 0, 0, 0] };
const { skip } = qemu;

test('arm64: steps run one after the other, results are passed along', { skip }, () => {
  const { output, errno } = runOnArm64((main) => {
    main.add(say('a'));
    const copy = main.add({ label: 'dup', call: 'dup', args: [1] });
    main.add(steps.write(copy, 'b'));
    main.add(steps.close(copy));
    main.add(steps.close(copy), { tolerate: 'EBADF' });
    main.add(say('c'));
  });
  assert.deepEqual({ output, errno }, { output: 'abc', errno: 0 });
});

test('arm64: branches after success and after tolerated errors of each word', { skip }, () => {
  const { output, errno } = runOnArm64((main) => {
    main.add(steps.changeDirectory('/'), {
      tolerate: 'any',
      ifSucceeded: (branch) => branch.add(say('success ')),
      ifTolerated: (branch) => branch.add(say('error ')),
    });
    const umask = main.add({ label: 'umask', call: 'umask', args: [0o22] });
    for (const name of ['EPERM', 'EINVAL', 'ENODATA', 'EOPNOTSUPP', 'ERFKILL'] as const) {
      main.add(check(name, umask, { equals: -7, errno: name }), {
        tolerate: name,
        ifSucceeded: (branch) => branch.add(say('equal ')),
        ifTolerated: (branch) => branch.add(say(`${name} `)),
      });
    }
    main.add(check('bit', umask, { mask: 0, equals: 0, errno: 'EIO' }));
    main.add(say('end'));
  });
  const expected = 'success EPERM EINVAL ENODATA EOPNOTSUPP ERFKILL end';
  assert.deepEqual({ output, errno }, { output: expected, errno: 0 });
});

test('arm64: a failed step ends the program, its errno is in the report', { skip }, () => {
  const { output, errno } = runOnArm64((main) => {
    main.add(say('before'));
    main.add(steps.changeDirectory('/nonexistent'), { tolerate: ['EACCES', 'EOPNOTSUPP'] });
    main.add(say('after'));
  });
  assert.deepEqual({ output, errno }, { output: 'before', errno: 2 });
});

test('arm64: a child goes its own way, its failure reaches the pipe', { skip }, () => {
  const { output, errno } = runOnArm64((main) => {
    const pid = main.clone(fork, { reportTo: 2, failureStatus: 9 }, (child) => {
      child.add(say('child '));
      child.add(steps.changeDirectory('/nonexistent'));
      child.add(say('not reached'));
    });
    const status = new Memory(8, () => 'status');
    main.add(steps.waitForChild(pid, status));
    const nine = { equals: 9 << 8, errno: 'ECHILD' } as const;
    main.add(check('status', status.field(0, 'status'), nine));
    main.add(say('parent'));
  });
  assert.deepEqual({ output, errno }, { output: 'child parent', errno: 0 });
});
