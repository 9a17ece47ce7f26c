// What commands print of a container that runc made and of one that tsrunc made: the same but for ids, pids, times and what is
// measured. And what `events` prints at every interval.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { after, before, test } from 'node:test';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { peer } from '../peers/index.ts';

const runc = peer('runc-1.3');
const skip = needsRoot !== false ? needsRoot : runc.skip;

interface Side {
  readonly runtime: RuntimeFixture;
  readonly id: string;
}
const sides: Side[] = [];
before(() => {
  if (skip !== false) return;
  for (const command of [undefined, [runc.path]]) {
    const runtime = new RuntimeFixture(command);
    const id = runtime.newId(command === undefined ? 'ours' : 'runc'); // the name of its cgroup too
    sides.push({ runtime, id });
    runtime.startSleeping(id, (config) => {
      config.annotations = { 'org.example.a': 'b', note: 'two words' };
      config.linux.resources.memory = { limit: 100 << 20, swap: 200 << 20 };
      config.linux.resources.pids = { limit: 44 };
    });
    const deadlineMs = performance.now() + 30_000; // its shell becomes `sleep`
    while (!runtime.run(['ps', id, '-o', 'pid,comm']).stdout.includes('sleep')) {
      assert.ok(performance.now() < deadlineMs, 'the container sleeps');
    }
  }
});
after(() => {
  for (const { runtime } of sides) runtime[Symbol.dispose]();
});

/** What both print, each without what is its own. */
function both(args: (id: string) => readonly string[]): [string, string] {
  const texts = sides.map(({ runtime, id }) => {
    const { status, stdout, error } = runtime.run(args(id));
    assert.equal(status, 0, error);
    return stdout.replaceAll(id, 'ID').replaceAll(runtime.directory, 'DIRECTORY');
  });
  return texts as [string, string];
}

/** Numbers of processes, of times and of usage become words; the width of columns, one blank. */
function neutral(text: string): string {
  return text
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replace(/\b\d\d:\d\d(?::\d\d)?\b/g, 'CLOCK')
    .replace(/\b\d+\b/g, 'N')
    .replace(/ +/g, ' ');
}

const TEXTS: readonly [string, (id: string) => readonly string[]][] = [
  ['list', () => ['list']],
  ['list --format json', () => ['list', '--format', 'json']],
  ['list --quiet', () => ['list', '--quiet']],
  ['state', (id) => ['state', id]],
  ['ps', (id) => ['ps', id]],
  ['ps with options', (id) => ['ps', id, '-o', 'pid,comm,args']],
  ['ps --format json', (id) => ['ps', '--format', 'json', id]],
];
for (const [what, args] of TEXTS) {
  test(what, { skip }, () => {
    const [ours, theirs] = both(args);
    assert.equal(neutral(ours), neutral(theirs));
    assert.ok(ours.length > 2);
  });
}

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** Names and kinds of all values, and the values of limits. */
function shape(value: Json, name = ''): Json {
  if (Array.isArray(value)) {
    // Blocks and CPUs: as many as there are, all of one kind.
    const [first] = value;
    return first === undefined ? [] : [shape(first, name)];
  }
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, shape(each, key)]));
  }
  return name === 'limit' || typeof value === 'string' ? value : typeof value;
}

test('events --stats', { skip }, () => {
  const [ours, theirs] = both((id) => ['events', '--stats', id]).map((text) => JSON.parse(text));
  assert.deepEqual(shape(withoutMeasured(ours)), shape(withoutMeasured(theirs)));
  assert.deepEqual(Object.keys(ours.data), Object.keys(theirs.data), 'in the same order');
});

test('events --stats: of a container without limits', { skip }, () => {
  const [ours, theirs] = sides.map(({ runtime }) => {
    const id = runtime.newId('unlimited');
    runtime.startSleeping(id);
    const { stdout } = runtime.run(['events', '--stats', id]);
    runtime.run(['delete', '--force', id]);
    const { data } = withoutMeasured(JSON.parse(stdout)) as { data: Measured };
    return { memory: shape(data.memory), pids: shape(data['pids'] ?? null) };
  });
  assert.deepEqual(ours, theirs);
});

/** What is there only if there was something to measure: a cache of 0 bytes is not, and a core that was not used. */
function withoutMeasured(event: { data: Measured }): Json {
  const { blkio: _blkio, ...data } = event.data;
  const { cache: _cache, ...memory } = data.memory;
  for (const name of ['usage', 'swap', 'kernel', 'kernelTCP']) {
    const { usage: _usage, max: _max, ...entry } = memory[name] ?? {};
    if (name in memory) memory[name] = entry;
  }
  return { ...event, data: { ...data, memory } };
}

interface Measured {
  readonly [name: string]: Json;
  readonly memory: { [name: string]: { [name: string]: Json } };
}

interface Event {
  readonly type: string;
  readonly data: object;
}

interface Events {
  readonly events: Event[];
  /** From before the start of the command until the last of them. */
  readonly elapsedMs: number;
}

/** The first lines of `events` with an interval of so many milliseconds. */
async function eventsOf({ runtime, id }: Side, intervalMs: number, count: number): Promise<Events> {
  const [program = '', ...prefix] = runtime.command;
  const args = ['--root', runtime.stateRoot, 'events', '--interval', `${intervalMs}ms`, id];
  const startedMs = performance.now();
  const child = spawn(program, [...prefix, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  const events: Event[] = [];
  for await (const text of createInterface({ input: child.stdout })) {
    events.push(JSON.parse(text));
    if (events.length === count) break;
  }
  const elapsedMs = performance.now() - startedMs;
  child.kill('SIGTERM');
  await new Promise((resolve) => child.on('exit', resolve));
  return { events, elapsedMs };
}

test('events --interval: a line at every interval, with the fields of runc', { skip }, async () => {
  const intervalMs = 200;
  const count = 5;
  const seen = await Promise.all(sides.map((side) => eventsOf(side, intervalMs, count)));
  for (const { events, elapsedMs } of seen) {
    assert.equal(events.length, count);
    assert.ok(elapsedMs >= (count - 1) * intervalMs, `${elapsedMs} ms`);
  }
  const [ours, theirs] = seen.map(({ events }) =>
    events.map(({ type, data }) => [type, Object.keys(data)]),
  );
  assert.deepEqual(ours, theirs);
});

test('events --interval: of a container that has ended, and an interval of nothing', {
  skip,
}, () => {
  for (const { runtime, id } of sides) {
    const { status } = runtime.run(['events', '--interval', '0s', id]);
    assert.equal(status, 1);
  }
  const [side] = sides as [Side];
  const { error } = side.runtime.run(['events', '--interval', '0s', side.id]);
  assert.equal(error, 'duration interval must be greater than 0');
});
