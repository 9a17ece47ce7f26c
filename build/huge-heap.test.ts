import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { EM_AARCH64 } from './elf.ts';
import { HEAP_BYTES, useHugeHeap } from './huge-heap.ts';
import { makeLeanNode } from './lean-node.ts';

const skip = process.arch === 'x64' ? false : 'the heap is changed on x86-64 alone';
const dir = mkdtempSync(join(tmpdir(), 'huge-heap-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const published = readFileSync(process.execPath);
const path = join(dir, 'node');
if (skip === false) writeFileSync(path, makeLeanNode(published, 'huge-heap'), { mode: 0o755 });

function run(options: readonly string[], code: string): unknown {
  const { status, signal, stdout, stderr } = spawnSync(path, [...options, '-e', code], {
    encoding: 'utf8',
  });
  assert.deepEqual([status, signal, stderr], [0, null, '']);
  return JSON.parse(stdout);
}

const skipWithoutHugePages =
  skip === false && !existsSync('/sys/kernel/mm/transparent_hugepage')
    ? 'the kernel has no huge pages to be asked for'
    : skip;

test('the heap begins in memory for which huge pages are asked, and which no child gets', {
  skip: skipWithoutHugePages,
}, () => {
  const seen = run(
    [],
    `
    const maps = require('node:fs').readFileSync('/proc/self/smaps', 'latin1').split(/(?=^[0-9a-f]+-)/m);
    const field = (map, name) => Number(new RegExp('^' + name + ': +([0-9]+)', 'm').exec(map)?.[1]) * 1024;
    const heap = maps.filter((map) => / hg/.test(map)).filter((map) => parseInt(map, 16) < 2 ** 31)
      .filter((map) => !map.split('\\n')[0].includes('/')); // code is in huge pages as well (prepared-memory.ts)
    console.log(JSON.stringify({
      maps: heap.map((map) => / dc/.test(map)),
      bytes: heap.reduce((sum, map) => sum + field(map, 'Size'), 0),
      used: heap.reduce((sum, map) => sum + field(map, 'Rss'), 0),
      aligned: parseInt(heap[0], 16) % (2 << 20),
    }));`,
  ) as { maps: boolean[]; bytes: number; used: number; aligned: number };
  // What V8 gives back is missing.
  assert.ok(seen.maps.length > 0 && seen.maps.every((isKept) => isKept), JSON.stringify(seen));
  assert.ok(seen.bytes > HEAP_BYTES / 2 && seen.bytes <= HEAP_BYTES, `${seen.bytes} bytes`);
  assert.ok(seen.used > 2 << 20, `${seen.used} bytes are used`);
  assert.equal(seen.aligned, 0);
});

test('a heap that outgrows it goes on elsewhere, shrinks and grows again', { skip }, () => {
  const code = `
    const sums = [];
    for (let round = 0; round < 3; round++) {
      const lists = Array.from({ length: 500 }, (_, n) => Array.from({ length: 1000 }, (_, m) => ({ n, m })));
      sums.push(lists.reduce((sum, list) => sum + list.length, 0));
      globalThis.gc();
    }
    console.log(JSON.stringify(sums));`;
  const sum = 500_000;
  assert.deepEqual(run(['--expose-gc'], code), [sum, sum, sum]);
});

test('threads take chunks of it at the same time', { skip }, () => {
  const code = `
    const { Worker } = require('node:worker_threads');
    const work = "const a = []; for (let i = 0; i < 50000; i++) a.push({ i }); require('node:worker_threads').parentPort.postMessage(a.length)";
    const results = Array.from({ length: 4 }, () => new Promise((resolve, reject) => {
      new Worker(work, { eval: true }).on('message', resolve).on('error', reject);
    }));
    Promise.all(results).then((all) => console.log(JSON.stringify(all)));`;
  assert.deepEqual(run([], code), [50_000, 50_000, 50_000, 50_000]);
});

const nowhere = { address: 0x400000, size: 64 };

test('an executable for another machine stays as it is', () => {
  const foreign = Buffer.from(published);
  foreign.writeUInt16LE(EM_AARCH64, 18);
  const before = Buffer.from(foreign);
  useHugeHeap(foreign, { table: nowhere, allocate: nowhere, room: nowhere });
  assert.ok(foreign.equals(before));
});

test("an executable without room or without V8's function is refused", { skip }, () => {
  const room = { address: 0x400000, size: 512 };
  const places = { table: nowhere, allocate: nowhere, room };
  assert.throws(() => useHugeHeap(Buffer.from(published), { ...places, room: nowhere }), {
    message: 'huge heap: no room for the code',
  });
  assert.throws(() => useHugeHeap(Buffer.from(published), places), {
    message: "huge heap: V8's table has no such function",
  });
});
