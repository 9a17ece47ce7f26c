// CVE-2024-21626: a descriptor of the runtime that is open on a directory of the host when the process is started. With
// /proc/self/fd/N as working directory, or through a descriptor that execve does not close, the container is outside of
// its root.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { steps } from '../../internal/linux/index.ts';
import { runInChild } from '../../internal/linux/program/child-run.fixture.ts';
import { createContainer, startExec } from '../../internal/runtime/index.ts';
import { needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };
const id = fixture?.newId('leak') ?? '';

/** Every number up to this one leads to a directory of the host, here and in the runtimes that inherit it. */
const GREATEST = 255;
const hostDirectories: number[] = [];
before(() => {
  if (needsRoot !== false) return;
  do hostDirectories.push(openSync('/', 'r'));
  while ((hostDirectories.at(-1) ?? 0) < GREATEST);
  runtime.startSleeping(id);
});
after(() => {
  for (const fd of hostDirectories) closeSync(fd);
  fixture?.[Symbol.dispose]();
});

const NUMBERS = Array.from({ length: GREATEST - 2 }, (_, index) => index + 3);
const REFUSAL = /cwd.* \/proc\/self\/fd\/[0-9]+: E(XDEV|LOOP|NOENT|NOTDIR)\b/;
const pathOf = (number: number) => `/proc/self/fd/${number}`;

/** The runtime inside of this process, as in a shim: all of its descriptors are open when the child is cloned. */
const inProcess = () => ({ root: runtime.stateRoot, rootless: 'auto', debug: () => {} }) as const;

test('the attack is one: a naive runtime is led out of the root', options, () => {
  const number = hostDirectories.at(-1) ?? 0;
  const output = join(runtime.directory, 'naive');
  const target = join(runtime.rootfs, 'proc');
  const { failure } = runInChild(
    (child) => {
      const own = child.add(
        steps.open({ path: output, flags: ['O_WRONLY', 'O_CREAT'], mode: 0o600 }),
      );
      child.add(steps.mount({ source: '', target: '/', flags: ['MS_PRIVATE', 'MS_REC'] }));
      child.add(steps.mount({ source: 'proc', target, type: 'proc' }));
      child.add(steps.changeRoot(runtime.rootfs));
      child.add(steps.changeDirectory(pathOf(number)));
      child.add(steps.duplicate(own, 1));
      child.add(
        steps.execute(
          '/bin/stat',
          steps.stringArray(['stat', '-c', '%i', '.']),
          steps.stringArray([]),
        ),
      );
    },
    { namespaces: ['mount'] },
  );
  assert.equal(failure, undefined);
  assert.equal(readFileSync(output, 'utf8'), `${statSync('/').ino}\n`);
});

test(`exec with cwd /proc/self/fd/N: refused for N from 3 to ${GREATEST}`, options, async () => {
  for (const number of NUMBERS) {
    const cwd = pathOf(number);
    await assert.rejects(startExec(inProcess(), { id, args: ['pwd'], cwd }), ({ message }: Error) =>
      REFUSAL.test(message),
    );
  }
});

test(`create with cwd /proc/self/fd/N: refused for N from 3 to ${GREATEST}`, options, async () => {
  for (const number of NUMBERS) {
    runtime.configure((config) => {
      config.process.cwd = pathOf(number);
    });
    const container = runtime.newId('cwd');
    await assert.rejects(
      createContainer(inProcess(), { id: container, bundle: runtime.bundle }),
      ({ message }: Error) => REFUSAL.test(message),
    );
    if (number % 50 !== 0) continue;
    assert.deepEqual(
      runtime.leftovers(container).filter((line) => !line.startsWith('process')),
      [],
    );
  }
});

/** The program, with a directory of the host on each number up to 255. */
function runLeaking(args: readonly string[]) {
  const [program = '', ...prefix] = runtime.command;
  const leaked = NUMBERS.map(() => hostDirectories[0]);
  return spawnSync(program, [...prefix, '--root', runtime.stateRoot, ...args], {
    cwd: runtime.bundle,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe', ...leaked],
  });
}

for (const command of ['exec', 'run']) {
  test(
    `${command} with cwd /proc/self/fd/N: refused by the program, which inherits 253 directories of the host`,
    options,
    () => {
      for (const number of NUMBERS.filter((each) => each % 16 === 7 || each < 12)) {
        const cwd = pathOf(number);
        runtime.configure((config) => {
          config.process.cwd = cwd;
          config.process.args = ['pwd', '-P'];
        });
        const args =
          command === 'exec' ? ['exec', '--cwd', cwd, id, 'pwd', '-P'] : ['run', runtime.newId()];
        const { status, stdout, stderr } = runLeaking(args);
        assert.notEqual(status, 0, `${cwd}: ${stdout}`);
        assert.equal(stdout, '');
        assert.match(stderr, REFUSAL);
      }
    },
  );
}

test(
  'the process has stdin, stdout and stderr, and nothing else, whatever the runtime inherits',
  options,
  () => {
    // The shell's own glob needs no descriptor while it prints.
    const script = 'cd /proc/self/fd && for fd in *; do test -e $fd && echo $fd; done';
    runtime.configure((config) => {
      config.process.args = ['sh', '-c', script];
    });
    for (const args of [
      ['run', runtime.newId()],
      ['exec', id, 'sh', '-c', script],
    ]) {
      const { stdout, stderr } = runLeaking(args);
      assert.deepEqual({ stdout, stderr }, { stdout: '0\n1\n2\n', stderr: '' });
    }
  },
);
