// tsrunc: hooks at all six points: when, where, with which state; what happens when one fails.
import assert from 'node:assert/strict';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };
const journal = join(fixture?.directory ?? '', 'journal');
beforeEach(() => rmSync(journal, { force: true }));

const POINTS = ['prestart', 'createRuntime', 'createContainer', 'poststart', 'poststop'];

/** A hook that runs a script of the host's shell with the environment JOURNAL. */
function hook(script: string, more: object = {}): object {
  return { path: '/bin/sh', args: ['sh', '-c', script], env: [`JOURNAL=${journal}`], ...more };
}

test('hooks: order, state on stdin, environment', options, () => {
  const id = runtime.newId();
  runtime.configure((config) => {
    config.annotations = { a: 'b' };
    config.process.args = ['sleep', '1000'];
    config.hooks = Object.fromEntries(
      POINTS.map((point) => [
        point,
        [
          hook(`{ printf '%s ' ${point}; cat; echo; } >> $JOURNAL`),
          hook(`echo ${point} 2 $(env | grep -v -E '^(PWD|SHLVL|_|OLDPWD)=') >> $JOURNAL`),
        ],
      ]),
    );
  });
  assert.equal(runtime.runDetached(['create', id]).status, 0);
  const { pid } = JSON.parse(runtime.run(['state', id]).stdout);
  assert.equal(runtime.run(['start', id]).error, '');
  runtime.run(['delete', '--force', id]);
  const lines = readFileSync(journal, 'utf8').trim().split('\n');
  const expected: string[] = [];
  const statuses = ['creating', 'creating', 'creating', 'running', 'stopped'];
  for (const [index, point] of POINTS.entries()) {
    const status = statuses[index];
    const state = JSON.stringify({
      ociVersion: '1.3.0',
      id,
      status,
      ...(status === 'stopped' ? {} : { pid: point === 'createContainer' ? 1 : pid }),
      bundle: runtime.bundle,
      annotations: { a: 'b' },
    });
    expected.push(`${point} ${state}`, `${point} 2 JOURNAL=${journal}`);
  }
  assert.deepEqual(lines, expected);
});

test(
  "hooks: createContainer sees the container's mounts before its root is entered",
  options,
  () => {
    const { stdout, error } = runtime.runScript('cat /from-hook', (config) => {
      const script = `readlink /proc/self/ns/mnt > ${runtime.rootfs}/from-hook; test -e ${runtime.rootfs}/dev/null`;
      config.hooks = { createContainer: [hook(script)] };
    });
    assert.equal(error, '');
    assert.match(stdout, /^mnt:\[\d+\]\n$/);
  },
);

test('hooks: startContainer runs inside, before the program', options, () => {
  const { stdout, error } = runtime.runScript('cat /tmp/order; echo program', (config) => {
    config.hooks = {
      startContainer: [
        { path: '/bin/sh', args: ['sh', '-c', 'cat /etc/passwd | wc -l > /tmp/order'] },
      ],
    };
  });
  assert.deepEqual({ stdout, error }, { stdout: '2\nprogram\n', error: '' });
});

const FAILING: [string, (config: Config) => void, RegExp][] = [
  ...['prestart', 'createRuntime', 'createContainer'].map(
    (point): [string, (config: Config) => void, RegExp] => [
      `${point} exits with 3`,
      (config) => {
        config.hooks = { [point]: [hook('true'), hook('echo reason >&2; exit 3')] };
      },
      new RegExp(`^hooks\\.${point}\\[1\\] ended with an error: exit status 3: reason$`),
    ],
  ),
  [
    'startContainer exits with 3',
    (config) => {
      config.hooks = { startContainer: [{ path: '/bin/sh', args: ['sh', '-c', 'exit 3'] }] };
    },
    /^hooks\.startContainer\[0\] ended with an error: exit status 3$/,
  ],
  [
    'a hook that is not there',
    (config) => {
      config.hooks = { createRuntime: [{ path: '/nonexistent/hook' }] };
    },
    /^hooks\.createRuntime\[0\]: exec \/nonexistent\/hook: ENOENT/,
  ],
  [
    'a hook that is killed',
    (config) => {
      config.hooks = { prestart: [hook('kill -KILL $$')] };
    },
    /^hooks\.prestart\[0\] ended with an error: signal 9$/,
  ],
  [
    'a hook that takes too long',
    (config) => {
      config.hooks = { createRuntime: [hook('exec sleep 100', { timeout: 1 })] };
    },
    /^hooks\.createRuntime\[0\] took longer than 1000 ms: ETIMEDOUT$/,
  ],
  [
    'poststart exits with 1',
    (config) => {
      config.hooks = { poststart: [hook('exit 1')] };
      config.process.args = ['sleep', '1000'];
    },
    /^hooks\.poststart\[0\] ended with an error: exit status 1$/,
  ],
];
for (const [what, change, message] of FAILING) {
  test(`hooks: ${what}: an error, and nothing is left`, options, () => {
    const id = runtime.newId();
    runtime.configure(change);
    const { status, error } = runtime.run(['run', id]);
    assert.equal(status, 1);
    assert.match(error, message);
    assert.deepEqual(runtime.leftovers(id), []);
  });
}

test('hooks: a failing poststop does not keep the container', options, () => {
  const id = runtime.newId();
  runtime.configure((config) => {
    config.hooks = {
      poststop: [hook('echo x > $JOURNAL; exit 1'), hook('echo the other >> $JOURNAL')],
    };
  });
  assert.equal(runtime.run(['run', id]).status, 0);
  assert.equal(readFileSync(journal, 'utf8'), 'x\nthe other\n', 'the next one runs all the same');
  assert.deepEqual(runtime.leftovers(id), []);
});
