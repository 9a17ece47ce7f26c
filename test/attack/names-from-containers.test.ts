// Text that a container chooses and the runtime reads back: process names in /proc/PID/stat, mount points in mountinfo; and
// keys of config.json that collide in a hash table. What is odd or long must neither mislead the runtime nor stop it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { binaries } from '../../build/binaries.ts';
import { Capability } from '../../internal/linux/index.ts';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };

/** What a reader of /proc/PID/stat may take for the end of the name, a state, a start time. */
const NAMES = [
  'a) Z 1 1',
  ') X 0 0 0',
  'x\n) Z 1',
  ' (sh) S',
  ')))))))))))))))',
  '\t\u00e9\ud83d\ude00',
  '\\012) Z',
];
for (const name of NAMES) {
  test(
    `a process named ${JSON.stringify(name)} is running, and can be killed and deleted`,
    options,
    () => {
      const id = runtime.newId('name');
      runtime.configure((config) => {
        // printf is the shell's own: the name is that of the container's first process.
        const script = 'printf %s "$NAME" > /proc/self/comm; sleep 1000 & wait';
        config.process.args = ['sh', '-c', script];
        config.process.env.push(`NAME=${name}`);
      });
      assert.equal(runtime.runDetached(['create', id]).error, '');
      assert.equal(runtime.runDetached(['start', id]).error, '');
      const { status, pid } = JSON.parse(runtime.run(['state', id]).stdout);
      assert.equal(status, 'running');
      assert.ok(JSON.parse(runtime.run(['ps', '--format', 'json', id]).stdout).includes(pid));
      assert.equal(runtime.run(['exec', id, 'echo', 'in']).stdout, 'in\n');
      assert.equal(runtime.run(['kill', id, 'KILL']).error, '');
      assert.equal(runtime.run(['delete', '--force', id]).error, '');
      assert.deepEqual(runtime.leftovers(id), []);
    },
  );
}

test(
  'mount points as long as paths may be, with blanks and line ends, and many of them',
  options,
  () => {
    const id = runtime.newId('mounts');
    const long = Array.from({ length: 15 }, () => 'x'.repeat(250)).join('/');
    const odd = 'a b\\040c\td\ne - cgroup2 none rw';
    const script = `cd /tmp; p='${long}'; mkdir -p "$p" '${odd}'; mount -t tmpfs none "$p"; mount -t tmpfs none '${odd}'
    i=0; while [ $i -lt 200 ]; do mount -t tmpfs none '${odd}'; i=$((i+1)); done; : > /ready`;
    runtime.startSleeping(
      id,
      (config) => {
        for (const set of ['bounding', 'effective', 'permitted'])
          config.process.capabilities[set] = Object.keys(Capability);
      },
      script,
    );
    const end = Date.now() + 20_000;
    while (runtime.run(['exec', id, 'test', '-e', '/ready']).status !== 0)
      assert.ok(Date.now() < end);
    const mounted = runtime.run(['exec', id, 'grep', '-c', '^none ', '/proc/mounts']);
    assert.equal(mounted.stdout, '202\n');
    assert.equal(runtime.run(['delete', '--force', id]).error, '');
    assert.deepEqual(runtime.leftovers(id), []);
  },
);

test("the runtime's own paths are long and odd", options, () => {
  const odd = join(runtime.directory, 'a b\\040c\td - cgroup2 none', 'y'.repeat(200));
  mkdirSync(odd, { recursive: true });
  runtime.configure((config) => {
    config.process.args = ['echo', 'ran'];
    config.mounts.push({ destination: '/volume', source: odd, options: ['bind'] });
    config.linux.rootfsPropagation = 'shared';
  });
  const { stdout, error } = runtime.run(['--root', join(odd, 'state'), 'run', runtime.newId()]);
  assert.deepEqual({ stdout, error }, { stdout: 'ran\n', error: '' });
});

/** CPU time of this process's children that have ended. */
function childMs(): number {
  const stat = readFileSync('/proc/self/stat', 'latin1');
  const [user = 0, system = 0] = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .slice(13, 15)
    .map(Number);
  return 10 * (user + system); // in ticks of which there are 100 in a second
}

/** What tsrunc's V8 hashes with, which is in its executable. */
const hashOptions = (binaries['tsrunc']?.v8Options ?? []).filter((each) => each.includes('hash'));

function inSuchNode(args: readonly string[], input = ''): string {
  const result = spawnSync(process.execPath, [...hashOptions, ...args], {
    input,
    encoding: 'utf8',
  });
  assert.equal(result.status, 0, result.stderr);
  return result.stdout.trim();
}

/**
 * Strings of 16 letters that all have one hash. rapidhash multiplies two halves of what it reads, of which one, the first
 * four letters and the last four, is combined with a secret: where both are the same the product is 0, whatever the other is.
 */
function stringsOfOneHash(count: number): string[] {
  const secrets = inSuchNode([join(import.meta.dirname, 'hash-secrets.fixture.ts')]).split(' ');
  const secret = Buffer.alloc(8);
  secret.writeBigUInt64LE(BigInt(`0x${secrets[1]}`));
  const [first, last] = [secret.subarray(4), secret.subarray(0, 4)];
  return Array.from({ length: count }, (_, index) => {
    return `${first.toString('latin1')}${String(index).padStart(8, 'k')}${last.toString('latin1')}`;
  });
}

/** Keys that V8 hashes by their value: they lie on each other in a table of 2^18 places. */
function numbersOfOnePlace(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String((index % 64) * 2 ** 18 + (index >> 6)));
}

const usualKeys = (count: number) =>
  Array.from({ length: count }, (_, index) => `org.example.key-${index}`);

function objectOf(keys: readonly string[]): string {
  return `{${keys.map((key) => `${JSON.stringify(key)}:""`).join(',')}}`;
}

test(
  'the attack: V8 with the hashes of tsrunc takes crafted strings in quadratic time',
  options,
  () => {
    const cpuOf = (keys: readonly string[]): number => {
      const script = `
      const text = require('node:fs').readFileSync(0, 'utf8');
      const before = process.cpuUsage();
      JSON.parse(text);
      console.log(process.cpuUsage(before).user);`;
      return Number(inSuchNode(['--eval', script], objectOf(keys)));
    };
    const [crafted, usual] = [cpuOf(stringsOfOneHash(4000)), cpuOf(usualKeys(4000))];
    assert.ok(
      crafted > 10 * usual,
      `${crafted} µs of CPU time for crafted keys, ${usual} µs for usual ones`,
    );
  },
);

const CRAFTED = { strings: stringsOfOneHash, numbers: numbersOfOnePlace };
for (const [kind, craft] of Object.entries(CRAFTED)) {
  test(
    `keys of config.json that collide, ${kind}: no more are taken than cost little`,
    options,
    () => {
      const cpuOf = (keys: readonly string[], expected: string): number => {
        const config = runtime.configure((changed) => {
          changed.process.args = ['true'];
        });
        const text = JSON.stringify({ ...config, annotations: 'KEYS' });
        writeFileSync(join(runtime.bundle, 'config.json'), text.replace('"KEYS"', objectOf(keys)));
        const before = childMs();
        const { error } = runtime.run(['run', runtime.newId('hash')]);
        assert.equal(
          error.replace(/\d+ different/, 'N different').replace(/: keep .*/, ''),
          expected,
        );
        return childMs() - before;
      };
      const refusal = 'config.json: has N different names of properties, more than 4000';
      for (const [count, expected] of [
        [3600, ''],
        [80_000, refusal],
      ] as const) {
        const usual = cpuOf(usualKeys(count), expected);
        const crafted = cpuOf(craft(count), expected);
        const text = `${crafted} ms of CPU time for ${count} crafted keys, ${usual} ms for usual ones`;
        assert.ok(crafted < 4 * usual + 1500, text);
      }
    },
  );
}
