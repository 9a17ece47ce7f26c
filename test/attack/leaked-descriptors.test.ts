// CVE-2024-21626: a descriptor of the runtime that is open on a directory of the host when the process is started. With
// /proc/self/fd/N as working directory, or through a descriptor that execve does not close, the container is outside of
// its root.
import assert from 'node:assert/strict';
import { closeSync, openSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };
const id = fixture?.newId('leak') ?? '';

/** Directories of the host that this process has open, and so might a careless runtime. */
const hostDirectories: number[] = [];
before(() => {
  if (needsRoot !== false) return;
  for (let count = 0; count < 5; count++) hostDirectories.push(openSync('/', 'r'));
  runtime.startSleeping(id);
});
after(() => {
  for (const fd of hostDirectories) closeSync(fd);
  fixture?.[Symbol.dispose]();
});

/** The numbers that descriptors have in a runtime: the first ones, and those that it duplicates to. */
const NUMBERS = [...Array.from({ length: 45 }, (_, index) => index + 3), 100, 101, 102, 103, 104];
const REFUSAL = /cwd.* \/proc\/self\/fd\/[0-9]+: E(XDEV|LOOP|NOENT|NOTDIR)( |$)/;

test('exec --cwd /proc/self/fd/N: refused for every N', options, () => {
  for (const number of NUMBERS) {
    const path = `/proc/self/fd/${number}`;
    const { status, stdout, error } = runtime.run(['exec', '--cwd', path, id, 'pwd', '-P']);
    assert.notEqual(status, 0, `${path}: ${stdout}`);
    assert.equal(stdout, '');
    assert.match(error, REFUSAL);
  }
});

test('run with process.cwd /proc/self/fd/N: refused for every N', options, () => {
  for (const number of NUMBERS.filter((_, index) => index % 3 === 0)) {
    const path = `/proc/self/fd/${number}`;
    runtime.configure((config) => {
      config.process.cwd = path;
      config.process.args = ['pwd', '-P'];
    });
    const container = runtime.newId('cwd');
    const { status, stdout, error } = runtime.run(['run', container]);
    assert.notEqual(status, 0, `${path}: ${stdout}`);
    assert.equal(stdout, '');
    assert.match(error, REFUSAL);
    assert.deepEqual(
      runtime.leftovers(container).filter((line) => !line.startsWith('process')),
      [],
    );
  }
});

test('the process has stdin, stdout and stderr, and nothing else', options, () => {
  // The shell's own glob needs no descriptor while it prints.
  const script = 'cd /proc/self/fd && for fd in *; do test -e $fd && echo $fd; done';
  const numbers = (stdout: string) => stdout.trim().split('\n').join(' ');
  assert.equal(numbers(runtime.runScript(script).stdout), '0 1 2');
  const exec = runtime.run(['exec', id, 'sh', '-c', script]);
  assert.equal(numbers(exec.stdout), '0 1 2');
});
