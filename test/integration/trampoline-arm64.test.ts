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
import { TRACED_TRAMPOLINE_ARM64 } from '../../internal/linux/program/traced-trampoline-arm64.ts';
import { assemble, type Listing } from '../../internal/linux/program/trampoline.ts';
import { TRAMPOLINE_ARM64 } from '../../internal/linux/program/trampoline-arm64.ts';
import { peer } from '../peers/index.ts';

const qemu = peer('qemu-aarch64');

/** Calls the trampoline and exits with the errno of its report; `first`, `report` and `area` follow as words. */
const START: Listing = [
  ['00 01 00 58', 'ldr x0, first', ''],
  ['21 01 00 58', 'ldr x1, report', ''],
  ['42 01 00 58', 'ldr x2, area', ''],
  ['0b 00 00 94', 'bl trampoline', ''],
  ['c1 00 00 58', 'ldr x1, report', ''],
  ['20 00 40 f9', 'ldr x0, [x1]', ''],
  ['c8 0b 80 d2', 'mov x8, #94', 'exit_group'],
  ['01 00 00 d4', 'svc #0', ''],
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

/** Places for events, of four words each; one word for their number and one for the number of places before them. */
const PLACES = 8;
const AREA_BYTES = 16 + PLACES * 32;

/** Runs a program by the usual trampoline, or by the one that traces what it does into `area`. */
function runOnArm64(
  listing: Listing,
  build: (main: Sequence, area: Memory) => void,
): { output: string; errno: number | null } {
  const report = new Memory(REPORT_BYTES, () => 'report');
  const parts: Parts = { items: [], report, announcements: new Map() };
  const end = new Sequence(parts);
  end.add({ label: 'return', call: 'end', args: [] });
  const body = new Sequence(parts);
  const area = new Memory(
    AREA_BYTES,
    () => 'area',
    (view) => view.setBigUint64(8, BigInt(PLACES), true),
  );
  build(body, area);

  const image = new Image();
  image.allocate(HEADERS_BYTES);
  const start = image.allocate(START.length * 4);
  start.bytes.set(assemble(START));
  const words = image.allocate(24);
  const trampoline = assemble(listing);
  image.allocate(trampoline.length).bytes.set(trampoline);
  const process = { body, end, failure: end };
  const placement = new ProgramPlacement(image, parts.items, process, 'arm64');
  const view = new DataView(words.bytes.buffer, words.bytes.byteOffset, words.bytes.length);
  view.setBigUint64(0, BigInt(placement.first), true);
  view.setBigUint64(8, BigInt(placement.memory(report)), true);
  view.setBigUint64(16, BigInt(placement.memory(area)), true);
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

for (const [name, listing] of [
  ['arm64', TRAMPOLINE_ARM64],
  ['arm64, traced', TRACED_TRAMPOLINE_ARM64],
] as const) {
  test(`${name}: steps run one after the other, results are passed along`, { skip }, () => {
    const { output, errno } = runOnArm64(listing, (main) => {
      main.add(say('a'));
      const copy = main.add({ label: 'dup', call: 'dup', args: [1] });
      main.add(steps.write(copy, 'b'));
      main.add(steps.close(copy));
      main.add(steps.close(copy), { tolerate: 'EBADF' });
      main.add(say('c'));
    });
    assert.deepEqual({ output, errno }, { output: 'abc', errno: 0 });
  });

  test(`${name}: branches after success and after tolerated errors of each word`, { skip }, () => {
    const { output, errno } = runOnArm64(listing, (main) => {
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

  test(`${name}: a failed step ends the program, its errno is in the report`, { skip }, () => {
    const { output, errno } = runOnArm64(listing, (main) => {
      main.add(say('before'));
      main.add(steps.changeDirectory('/nonexistent'), { tolerate: ['EACCES', 'EOPNOTSUPP'] });
      main.add(say('after'));
    });
    assert.deepEqual({ output, errno }, { output: 'before', errno: 2 });
  });

  test(`${name}: a child goes its own way, its failure reaches the pipe`, { skip }, () => {
    const { output, errno } = runOnArm64(listing, (main) => {
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
}

test('arm64, traced: events of beginnings and results, as many as there are places', {
  skip,
}, () => {
  const { output } = runOnArm64(TRACED_TRAMPOLINE_ARM64, (main, area) => {
    main.add(steps.changeDirectory('/')); // index 1, after `return`
    main.add(steps.changeDirectory('/nonexistent'), { tolerate: 'ENOENT' });
    for (let i = 0; i < PLACES; i++) main.add(steps.changeDirectory('/'));
    main.add({ label: 'show', call: 'write', args: [1, area, AREA_BYTES] });
  });
  const bytes = Buffer.from(output, 'latin1');
  assert.equal(bytes.length, AREA_BYTES);
  assert.equal(bytes.readBigUInt64LE(0), BigInt(2 * (2 + PLACES) + 1), 'the last step has begun');
  const events = Array.from({ length: 4 }, (_, place) => {
    const word = (position: number) => bytes.readBigInt64LE(16 + place * 32 + position * 8);
    return { index: word(0), hasEnded: word(1), result: word(2), ticks: word(3) };
  });
  assert.deepEqual(
    events.map(({ index, hasEnded }) => [index, hasEnded]),
    [
      [1n, 0n],
      [1n, 1n],
      [2n, 0n],
      [2n, 1n],
    ],
  );
  assert.deepEqual([events[1]?.result, events[3]?.result], [0n, -2n]);
  const ticks = events.map((each) => each.ticks);
  assert.ok(ticks.every((each) => each > 0n));
  assert.deepEqual(
    ticks,
    [...ticks].sort((a, b) => (a < b ? -1 : 1)),
  );
});
