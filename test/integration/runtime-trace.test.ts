// tsrunc --trace FILE: what create, run, exec and restore really did, each step with its result and its times.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { criuAnnotations, useCriu } from '../fixtures/criu.ts';
import { type Config, needsRoot, RuntimeFixture } from '../fixtures/runtime-bundle.ts';
import { until } from '../fixtures/shim.ts';

const fixture = needsRoot === false ? new RuntimeFixture() : undefined;
after(() => fixture?.[Symbol.dispose]());
const runtime = fixture as RuntimeFixture;
const options = { skip: needsRoot };
const file = () => join(runtime.directory, 'trace');

interface Line {
  readonly at: number;
  /** NaN: it has not ended. */
  readonly took: number;
  readonly process: string;
  readonly step: number;
  /** `rootfs = open_tree(…)`, as --explain has it. */
  readonly call: string;
  readonly outcome: string;
  readonly label: string;
}

function readTrace(): Line[] {
  const [heading = '', ...lines] = readFileSync(file(), 'utf8').trimEnd().split('\n');
  assert.equal(heading, '     at µs    took µs  process  step');
  return lines.map((line) => {
    const match = /^ *([\d.]+) +([\d.]+|-) {2}(\w+) +(\d+) (.*) -> (.*?) {2}# (.*)$/.exec(line);
    assert.ok(match !== null, line);
    const [, at, took, process = '', step, call = '', outcome = '', label = ''] = match;
    return {
      at: Number(at),
      took: Number(took),
      process,
      step: Number(step),
      call,
      outcome,
      label,
    };
  });
}

/** Step numbers with their calls; what is another fd or address each time is left out. */
function calls(lines: readonly { step: number; call: string }[]): string[] {
  return lines.map(({ step, call }) => `${step} ${call}`.replace(/\b(0x)?[0-9a-f]+\b/g, 'N'));
}

function explained(command: string, args: readonly string[]): string[] {
  const { stdout, status } = runtime.run([command, '--explain', ...args]);
  assert.equal(status, 0);
  return stdout
    .split('\n')
    .map((line) => /^ *(\d+) (.*?) {2}# /.exec(line))
    .filter((match) => match !== null)
    .map(([, step = '', call = '']) => `${step} ${call}`.replace(/\b(0x)?[0-9a-f]+\b/g, 'N'));
}

function checkTimes(lines: readonly Line[], durationMs: number): void {
  assert.equal(lines[0]?.at, 0);
  for (const { at, took } of lines) {
    assert.ok(at >= 0 && at < durationMs * 1000, `${at} µs of ${durationMs} ms`);
    assert.ok(Number.isNaN(took) || (took >= 0 && at + took < durationMs * 1000), `${took}`);
  }
  assert.deepEqual(
    lines.map(({ at }) => at),
    lines.map(({ at }) => at).sort((a, b) => a - b),
  );
}

test('run --trace: all steps from the clone to the program', options, () => {
  runtime.configure((config) => (config.process.args = ['sh', '-c', 'echo out; exit 7']));
  const id = runtime.newId();
  const began = performance.now();
  const { status, stdout } = runtime.run(['run', '--trace', file(), id]);
  const durationMs = performance.now() - began;
  assert.deepEqual({ status, stdout }, { status: 7, stdout: 'out\n' });
  const lines = readTrace();
  checkTimes(lines, durationMs);
  assert.deepEqual([...new Set(lines.map(({ process }) => process))], ['runtime', 'init']);
  const first = lines[0] as Line;
  assert.match(first.call, /^init = clone3\(\{flags=CLONE_NEWPID\|/);
  assert.match(first.outcome, /^\d+$/, 'the pid');
  const wait = lines.find(({ label }) => label === 'wait for start');
  assert.equal(wait?.outcome, '1', 'the byte that start writes');
  const last = lines.at(-1) as Line;
  assert.match(last.call, /^execve\("\/bin\/sh", \["sh","-c","echo out; exit 7"\], /);
  assert.equal(last.outcome, '(executed)');
  // Every line is one of --explain, with the same number.
  const known = new Set(explained('run', [runtime.newId()]));
  assert.deepEqual(
    calls(lines).filter((call) => !known.has(call) && !/_ses|close_range|munmap|clone3/.test(call)),
    [],
  );
  assert.ok(lines.length > 200, `${lines.length} steps`);
});

test('create --trace: the last step is the one that waits for start', options, () => {
  runtime.configure();
  const id = runtime.newId();
  assert.equal(runtime.runDetached(['create', '--trace', file(), id]).status, 0);
  const last = readTrace().at(-1) as Line;
  assert.deepEqual(
    { call: last.call.replace(/\d+/g, 'N'), outcome: last.outcome },
    { call: 'read(N, buffer, N)', outcome: '(not ended)' },
  );
  // The runtime ends as soon as it has let the process go on.
  assert.match(last.label, /^wait for (?:start|the runtime: end of create)$/);
  assert.equal(runtime.run(['start', id]).status, 0);
  runtime.run(['delete', '--force', id]);
});

const FAILURES: [string, (config: Config) => void, RegExp, string, string][] = [
  [
    'a mount option that the file system does not know',
    (config) => {
      config.mounts.push({
        destination: '/m',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['size=lots'],
      });
    },
    /^fsconfig\(fs, FSCONFIG_SET_STRING, "size", "lots", 0\)$/,
    'EINVAL (failed)',
    'mount tmpfs on /m: option size=lots',
  ],
  [
    'a sysctl that is not there',
    (config) => (config.linux.sysctl = { 'net.nope': '1' }),
    /^openat2\(\d+, "sys\/net\/nope", /,
    'ENOENT (failed)',
    'set sysctl net.nope=1',
  ],
  [
    'a program that is not there',
    (config) => (config.process.args = ['/no/such/program']),
    /^faccessat2\(AT_FDCWD, "\/no\/such\/program", F_OK, 0\)$/,
    'ENOENT (failed)',
    'exec: "/no/such/program": stat /no/such/program',
  ],
];
for (const [what, change, call, outcome, label] of FAILURES) {
  for (const command of ['create', 'run']) {
    test(`${command} --trace: ${what} is the last line`, options, () => {
      runtime.configure(change);
      const id = runtime.newId();
      assert.equal(runtime.run([command, '--trace', file(), id]).status, 1);
      const last = readTrace().at(-1) as Line;
      assert.match(last.call, call);
      assert.deepEqual([last.process, last.outcome, last.label], ['init', outcome, label]);
      assert.deepEqual(runtime.leftovers(id), []);
    });
  }
}

test('exec --trace: joiner and process; a failing step is the last line', options, () => {
  const id = runtime.newId();
  runtime.startSleeping(id);
  const { status, stdout } = runtime.run(['exec', '--trace', file(), id, 'echo', 'in']);
  assert.deepEqual({ status, stdout }, { status: 0, stdout: 'in\n' });
  const lines = readTrace();
  assert.deepEqual(
    [...new Set(lines.map(({ process }) => process))],
    ['runtime', 'joiner', 'process'],
  );
  assert.ok(lines.some(({ call }) => /^setns\(\d+, CLONE_NEWPID\|/.test(call)));
  assert.match(lines.at(-1)?.call ?? '', /^execve\("\/bin\/echo", \["echo","in"\], /);
  assert.equal(lines.at(-1)?.outcome, '(executed)');

  const failed = runtime.run(['exec', '--trace', file(), '--cwd', '/nowhere', id, 'true']);
  assert.equal(failed.status, 255);
  assert.equal(failed.error, 'chdir to cwd /nowhere: ENOENT (no such file or directory)');
  const last = readTrace().at(-1) as Line;
  assert.equal(last.process, 'process');
  assert.match(last.call, /^openat2\(root, "\/nowhere", /);
  assert.equal(last.outcome, 'ENOENT (failed)');

  const detached = runtime.runDetached(['exec', '-d', '--trace', file(), id, 'true']);
  assert.equal(detached.status, 0);
  assert.equal(readTrace().at(-1)?.outcome, '(executed)');
  runtime.run(['delete', '--force', id]);
});

test('run --trace: hooks of the runtime and of the container are in it', options, () => {
  runtime.configure((config) => {
    config.hooks = {
      createRuntime: [{ path: '/bin/true' }],
      createContainer: [{ path: '/bin/true' }],
    };
  });
  assert.equal(runtime.run(['run', '--trace', file(), runtime.newId()]).error, '');
  const hooks = readTrace().filter(({ process }) => process === 'hook');
  const executed = hooks.filter(({ outcome }) => outcome === '(executed)');
  assert.deepEqual(
    executed.map(({ label }) => label),
    ['hooks.createRuntime[0]: exec /bin/true', 'hooks.createContainer[0]: exec /bin/true'],
  );
});

test('run --trace: the seccomp filter of the container does not matter', options, () => {
  runtime.configure((config) => {
    config.process.noNewPrivileges = false; // the filter is there early
    config.linux.seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [
        { names: ['clock_gettime', 'gettimeofday', 'time'], action: 'SCMP_ACT_KILL_PROCESS' },
      ],
    };
  });
  assert.equal(runtime.run(['run', '--trace', file(), runtime.newId()]).status, 0);
  assert.equal(readTrace().at(-1)?.outcome, '(executed)');
});

test(
  'create --trace: of a step that hangs the file tells, also when tsrunc is killed',
  options,
  async () => {
    const pidFile = join(runtime.directory, 'hook.pid');
    rmSync(pidFile, { force: true });
    runtime.configure((config) => {
      const args = ['sh', '-c', `echo $$ > ${pidFile}; exec sleep 1000`];
      config.hooks = { createRuntime: [{ path: '/bin/sh', args }] };
    });
    const id = runtime.newId();
    rmSync(file(), { force: true });
    const [program = '', ...prefix] = runtime.command;
    const command = [...prefix, '--root', runtime.stateRoot, 'create', '--trace', file(), id];
    const child = spawn(program, command, { stdio: 'ignore', cwd: runtime.bundle });
    const ended = new Promise((resolve) => child.on('exit', (_, signal) => resolve(signal)));
    const hangs = () => {
      const text = existsSync(file()) ? readFileSync(file(), 'utf8') : '';
      return text.includes('exec /bin/sh') && existsSync(pidFile);
    };
    try {
      await until(hangs, 'the trace of the step that hangs', 30_000);
    } finally {
      child.kill('SIGKILL');
    }
    assert.equal(await ended, 'SIGKILL');
    const lines = readTrace();
    const executed = lines.find(({ label }) => label === 'hooks.createRuntime[0]: exec /bin/sh');
    assert.deepEqual([executed?.process, executed?.outcome], ['hook', '(executed)']);
    const waiting = lines.filter(({ process, outcome }) => {
      return process === 'init' && outcome === '(not ended)';
    });
    assert.deepEqual(
      waiting.map(({ label }) => label),
      ['wait for the runtime: hooks'],
    );
    process.kill(Number(readFileSync(pidFile, 'latin1')), 'SIGKILL');
    assert.equal(runtime.run(['delete', '--force', id]).status, 0);
    assert.deepEqual(runtime.leftovers(id), []);
  },
);

const noCriu = useCriu();

test('restore --trace: CRIU, and the hooks that run before the processes go on', {
  skip: noCriu,
}, () => {
  runtime.configure((config) => {
    config.process.args = ['sleep', '1000'];
    config.annotations = criuAnnotations(runtime.directory);
    config.hooks = { createRuntime: [{ path: '/bin/true' }] };
  });
  const id = runtime.newId();
  const images = ['--image-path', join(runtime.directory, 'images')];
  assert.equal(runtime.runDetached(['run', '-d', id]).status, 0);
  const written = runtime.run(['checkpoint', ...images, id]);
  assert.deepEqual([written.status, written.error], [0, '']);
  const restored = runtime.runDetached(['restore', '-d', '--trace', file(), ...images, id]);
  assert.deepEqual([restored.status, restored.error], [0, '']);
  const executed = readTrace().filter(({ outcome }) => outcome === '(executed)');
  const labels = executed.map(({ process, label }) => `${process}: ${label.replace(/\/.*\//, '')}`);
  // The first CRIU tells its version.
  assert.deepEqual(labels, [
    'criu: exec criu',
    'criu: exec criu',
    'hook: hooks.createRuntime[0]: exec true',
  ]);
  assert.equal(runtime.run(['delete', '--force', id]).status, 0);
  assert.deepEqual(runtime.leftovers(id), []);
});

test('--trace: a file that cannot be opened is an error before anything is done', options, () => {
  runtime.configure();
  const id = runtime.newId();
  const { status, error } = runtime.run(['run', '--trace', '/nonexistent/trace', id]);
  assert.equal(status, 1);
  assert.equal(error, 'open trace /nonexistent/trace: ENOENT (no such file or directory)');
  assert.deepEqual(runtime.leftovers(id), []);
});

test('--trace: a full disk does not change what becomes of the container', options, () => {
  runtime.configure((config) => (config.process.args = ['sh', '-c', 'exit 5']));
  const { status, stderr, error } = runtime.run(['run', '--trace', '/dev/full', runtime.newId()]);
  assert.deepEqual(
    { status, stderr, error },
    { status: 5, stderr: 'write trace /dev/full: ENOSPC\n', error: '' },
  );
});

test('--trace: not together with --explain', options, () => {
  writeFileSync(file(), '');
  const { status, error } = runtime.run(['run', '--explain', '--trace', file(), 'x']);
  assert.equal(status, 1);
  assert.equal(error, '--explain and --trace: nothing runs that could be traced');
});
