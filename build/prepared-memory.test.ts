import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { EM_AARCH64 } from './elf.ts';
import { makeLeanNode } from './lean-node.ts';
import { PREPARED_BYTES, prepareMemory } from './prepared-memory.ts';

const skip = process.arch === 'x64' ? false : 'memory is prepared on x86-64 alone';
const [major = 0, minor = 0] = release().split('.').map(Number);
const skipWithoutPopulate =
  skip === false && (major < 5 || (major === 5 && minor < 14))
    ? 'MADV_POPULATE_WRITE is of Linux 5.14'
    : skip;
const skipWithoutHugePages =
  skip === false && !existsSync('/sys/kernel/mm/transparent_hugepage')
    ? 'the kernel has no huge pages to be asked for'
    : skip;

const dir = mkdtempSync(join(tmpdir(), 'prepared-memory-'));
const path = join(dir, 'node');
const published = readFileSync(process.execPath);
before(() => {
  if (skip === false) writeFileSync(path, makeLeanNode(published, 'prepared'), { mode: 0o755 });
});
after(() => rmSync(dir, { recursive: true, force: true }));

/** What a program says as JSON. */
function run(code: string, args: readonly string[] = [], env = {}): unknown {
  const { status, signal, stdout, stderr } = spawnSync(path, ['-e', code, ...args], {
    encoding: 'utf8',
    env,
  });
  assert.deepEqual([status, signal, stderr], [0, null, '']);
  return JSON.parse(stdout);
}

/** The mappings of the program that runs it, each with its size and flags. */
const MAPS =
  "const maps = require('node:fs').readFileSync('/proc/self/smaps', 'latin1').split(/(?=^[0-9a-f]+-)/m);";

test("malloc's heap is there when the program begins", { skip: skipWithoutPopulate }, () => {
  const kilobytes = run(`${MAPS}
    const heap = maps.find((map) => map.includes('[heap]'));
    console.log(/^Rss: +([0-9]+)/m.exec(heap)[1]);`) as number;
  assert.ok(kilobytes * 1024 >= PREPARED_BYTES, `${kilobytes} KB`);
});

test('huge pages, and nothing beyond them, are asked for all code and constants', {
  skip: skipWithoutHugePages,
}, () => {
  const seen = run(`${MAPS}
    const place = (map) => map.split('-').map((text) => parseInt(text, 16));
    // Elsewhere V8 maps a part of the file once more.
    const wanted = maps.filter((map) => map.includes(process.execPath) && / r-[x-]p /.test(map))
      .filter((map) => place(map)[1] < 2 ** 31 && place(map)[1] - place(map)[0] > 2 ** 21);
    console.log(JSON.stringify(wanted.map((map) => / rr .*hg/.test(map))));`) as boolean[];
  assert.ok(seen.length === 3 && seen.every((isAsked) => isAsked), JSON.stringify(seen));
});

test('the program gets its arguments, its environment and its way out', { skip }, () => {
  const code = `process.on('exit', () => console.log(JSON.stringify([process.argv.slice(1), process.env])))`;
  assert.deepEqual(run(code, ['a', 'b'], { A: '1' }), [['a', 'b'], { A: '1' }]);
});

const place = { address: 0x400000, size: 64 };

test('an executable for another machine stays as it is', () => {
  const foreign = Buffer.from(published);
  foreign.writeUInt16LE(EM_AARCH64, 18);
  const unchanged = Buffer.from(foreign);
  assert.equal(prepareMemory(foreign, { room: place, malloc: 0, free: 0 }), place);
  assert.ok(foreign.equals(unchanged));
});

test('an executable without room is refused', { skip }, () => {
  assert.throws(() => prepareMemory(Buffer.from(published), { room: place, malloc: 0, free: 0 }), {
    message: 'prepare memory: no room for the code',
  });
});
