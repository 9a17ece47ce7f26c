import assert from 'node:assert/strict';
import { closeSync, readFileSync, writeSync } from 'node:fs';
import { test } from 'node:test';
import { Pipe } from '../pipe.ts';
import { checkDevice, checkFileSystem, checkFileType } from '../steps/file-checks.ts';
import {
  chmod,
  close,
  duplicate,
  makeDirectory,
  open,
  read,
  waitForBytes,
  write,
} from '../steps/files.ts';
import { cloneProcess } from '../steps/namespaces.ts';
import {
  changeDirectory,
  execute,
  resetSignals,
  stringArray,
  waitForChild,
} from '../steps/processes.ts';
import { peekExited, waitForChild as waitForExit } from '../wait.ts';
import { bytesOf, Memory, type Result } from './argument.ts';
import { failureInProcess, possessions, runInChild } from './child-run.fixture.ts';
import type { Sequence } from './sequence.ts';
import { check, type Step } from './step.ts';
import { SyscallProgram } from './syscall-program.ts';

const getpid: Step = { label: 'get pid', call: 'getpid', args: [] };

test('run: a failed step of this process is thrown with its label, errno, index and call', () => {
  const program = new SyscallProgram();
  program.main.add(getpid);
  program.main.add(changeDirectory('/nonexistent'));
  assert.throws(() => program.run(), {
    message: 'chdir /nonexistent: ENOENT',
    kind: 'NotFound',
    fields: { errno: 'ENOENT', step: 2, call: 'chdir("/nonexistent")' },
  });
});

test('run: a failed step of the child comes through the pipe, and the child exits with 1', () => {
  const { failure, exit } = runInChild((child) => {
    child.add(getpid);
    child.add(makeDirectory('/proc/new'), { label: 'mkdir new in proc' });
    child.add({ label: 'not reached', call: 'kill', args: [0, 9] });
  });
  assert.equal(failure?.message, 'mkdir new in proc: ENOENT');
  assert.equal(failure?.fields['call'], 'mkdirat(AT_FDCWD, "/proc/new", 0755)');
  assert.equal(exit?.status, 1);
});

test('run: the child of steps that all succeed exits with 0', () => {
  const { failure, exit } = runInChild((child) => child.add(getpid));
  assert.equal(failure, undefined);
  assert.equal(exit?.exitCode, 0);
});

test('results: an fd goes from step to step, in the child and in this process', () => {
  using pipe = new Pipe();
  const program = new SyscallProgram();
  const fd = program.main.add(open({ path: '/proc/self/comm', flags: ['O_RDONLY'] }), {
    as: 'comm',
  });
  const copy = program.main.add(duplicate(fd, 200));
  const buffer = new Memory(16, () => 'buffer');
  const length = program.main.add(read(copy, buffer));
  program.main.add({
    label: 'write on',
    call: 'write',
    args: [pipe.writeEnd.number, buffer, length],
  });
  program.main.add(close(copy));
  program.main.add(close(fd));
  using run = program.run();
  assert.equal(run.value(copy), 200);
  const name = Buffer.from(run.bytes(buffer)).toString('latin1', 0, run.value(length));
  assert.match(name, /^[\w-]+\n$/);
  assert.throws(() => closeSync(200), { code: 'EBADF' });
});

test('results: what a child stores, its parent does not see', () => {
  const { announced, exit } = runInChild((child, reportTo) => {
    const pid = child.add(getpid, { as: 'pid' });
    child.announce('pid', reportTo, pid);
  });
  assert.equal(Number(announced[0]?.[1]), exit?.pid);
});

test('tolerate: one errno, several, any; another one still fails', () => {
  const mkdir = makeDirectory('/');
  assert.equal(
    failureInProcess((main) => main.add(mkdir, { tolerate: 'EEXIST' })),
    undefined,
  );
  assert.equal(
    failureInProcess((main) => main.add(mkdir, { tolerate: ['EROFS', 'EEXIST'] })),
    undefined,
  );
  assert.equal(
    failureInProcess((main) => main.add(mkdir, { tolerate: 'any' })),
    undefined,
  );
  const failure = failureInProcess((main) =>
    main.add(mkdir, { tolerate: ['ENOENT', 'EOPNOTSUPP'] }),
  );
  assert.equal(failure?.message, 'mkdir /: EEXIST');
});

// Each word of the bitmap, its first and last bit, and what is beyond it.
for (const errno of [1, 2, 63, 64, 95, 127, 128, 133, 191, 192, 4095]) {
  test(`tolerate: errno ${errno} is told from its neighbours`, () => {
    const answer = (value: number): Step => ({
      label: 'answer',
      call: 'check',
      args: [bytesOf('12345678').field(0, 'x'), -1, 0, -value],
    });
    const failure = failureInProcess((main) => main.add(answer(errno)));
    assert.match(failure?.message ?? '', /^answer: (E|errno )/);
    const tolerated = failureInProcess((main) => main.add(answer(errno), { tolerate: 'any' }));
    assert.equal(tolerated === undefined, errno <= 191);
    const neighbour = failureInProcess((main) => main.add(answer(errno), { tolerate: 'ERFKILL' }));
    assert.notEqual(neighbour, undefined);
  });
}

test('branches: after success, after a tolerated error, and the way back to the next step', () => {
  const path: string[] = [];
  const { announced } = runInChild((child, reportTo) => {
    const say = (name: string) => path.push(child.announce(name, reportTo).name);
    child.add(changeDirectory('/'), {
      tolerate: 'ENOENT',
      ifSucceeded: (branch) => branch.announce('there', reportTo),
      ifTolerated: (branch) => branch.announce('not there', reportTo),
    });
    say('next');
    child.add(changeDirectory('/nonexistent'), {
      tolerate: 'ENOENT',
      ifSucceeded: (branch) => branch.announce('there', reportTo),
      ifTolerated: (branch) => {
        branch.announce('not there', reportTo);
        branch.add(changeDirectory('/nonexistent'), {
          tolerate: 'any',
          ifTolerated: (inner) => inner.announce('nor here', reportTo),
        });
      },
    });
    say('last');
  });
  assert.deepEqual(
    announced.map(([name]) => name),
    ['there', 'next', 'not there', 'nor here', 'last'],
  );
});

test('branches: a step that fails inside of a branch is reported', () => {
  const { failure } = runInChild((child) => {
    child.add(changeDirectory('/nonexistent'), {
      tolerate: 'ENOENT',
      ifTolerated: (branch) => branch.add(chmod('/nonexistent', 0o700)),
    });
  });
  assert.equal(failure?.message, 'chmod /nonexistent: ENOENT');
});

test('branches: one for an error that is not tolerated is a mistake', () => {
  const program = new SyscallProgram();
  assert.throws(() => program.main.add(getpid, { ifTolerated: () => undefined }), {
    message: 'internal error: "get pid" branches on no error',
  });
});

test('retryOn: a step runs again until it does not fail any more', () => {
  // The lock on the pipe's read end: EAGAIN until the second child has written.
  using pipe = new Pipe({ nonBlocking: true });
  const { announced, failure } = runInChild((child, reportTo) => {
    const writer = child.clone(cloneProcess(), { reportTo }, (grandchild) => {
      grandchild.add(write(pipe.writeEnd.number, 'x'));
    });
    child.add(waitForBytes(pipe.readEnd.number), { retryOn: 'EAGAIN' });
    child.add(waitForChild(writer));
    child.announce('read', reportTo);
  });
  assert.equal(failure, undefined);
  assert.equal(announced[0]?.[0], 'read');
});

test('check: compares a result, under a mask, and fails with the chosen errno', () => {
  const compare = (mask: number, equals: number) =>
    failureInProcess((main) => {
      const umask = main.add({ label: 'umask', call: 'umask', args: [0o22] });
      main.add({ label: 'umask', call: 'umask', args: [0o22] }, { as: 'again' });
      main.add(check('umask is odd', umask, { mask, equals, errno: 'ECANCELED' }));
    });
  const before = process.umask(0o22);
  assert.equal(compare(-1, 0o22), undefined);
  assert.equal(compare(0o20, 0o20), undefined);
  assert.equal(compare(-1, 0o23)?.message, 'umask is odd: ECANCELED');
  assert.equal(compare(0o1, 0o1)?.message, 'umask is odd: ECANCELED');
  process.umask(before);
});

test('checkFileSystem, checkFileType, checkDevice: look at the fd, not at the name', () => {
  const checked = (path: string, inspect: (main: Sequence, fd: Result) => void) =>
    failureInProcess((main) => inspect(main, main.add(open({ path, flags: ['O_PATH'] }))))?.message;
  const isProc = (path: string) =>
    checked(path, (main, fd) => checkFileSystem(main, fd, 'PROC_SUPER_MAGIC', path));
  assert.equal(isProc('/proc/sys'), undefined);
  assert.equal(isProc('/dev'), '/dev is not a proc file system: EINVAL');
  const isNull = (path: string) =>
    checked(path, (main, fd) =>
      checkDevice(main, fd, { type: 'S_IFCHR', major: 1, minor: 3 }, path),
    );
  assert.equal(isNull('/dev/null'), undefined);
  assert.equal(isNull('/dev/zero'), '/dev/zero is not the device 1:3: EINVAL');
  assert.equal(isNull('/etc/passwd'), '/etc/passwd is not a character device: EINVAL');
  const isDirectory = (path: string) =>
    checked(path, (main, fd) => checkFileType(main, fd, 'S_IFDIR', path));
  assert.equal(isDirectory('/etc'), undefined);
  assert.equal(isDirectory('/etc/passwd'), '/etc/passwd is not a directory: EINVAL');
});

test('second clone: a sibling is a child of this process, and its pid comes through the pipe', () => {
  using gate = new Pipe();
  const { announced, exit } = runInChild((child, reportTo) => {
    const sibling = child.clone(cloneProcess({ sibling: true }), { reportTo }, (inner) => {
      inner.add(close(reportTo));
      inner.add(waitForBytes(gate.readEnd.number));
      inner.add({ label: 'exit', call: 'exit_group', args: [7] });
    });
    child.announce('sibling', reportTo, sibling);
  });
  assert.equal(exit?.status, 0, 'the first child is gone');
  const [name, pid] = announced[0] ?? ['', 0n];
  assert.equal(name, 'sibling');
  assert.notEqual(Number(pid), exit.pid);
  assert.equal(peekExited(Number(pid)), undefined, 'it is a child of this process and waits');
  writeSync(gate.writeEnd.number, 'x');
  assert.equal(waitForExit(Number(pid))?.status, 7);
});

test('second clone: the step of a grandchild that fails is reported to the same pipe', () => {
  const { failure, exit } = runInChild((child, reportTo) => {
    const grandchild = child.clone(cloneProcess(), { reportTo, failureStatus: 42 }, (inner) => {
      inner.add(changeDirectory('/nonexistent/in/grandchild'));
    });
    const status = new Memory(8, () => 'status');
    child.add(waitForChild(grandchild, status));
    child.add(check('status', status.field(0, 'status'), { equals: 42 << 8, errno: 'ECHILD' }));
  });
  assert.equal(failure?.message, 'chdir /nonexistent/in/grandchild: ENOENT');
  assert.equal(exit?.status, 0);
});

test('execute: the candidate that exists runs; descriptors close on exec', () => {
  const args = stringArray(['sh', '-c', 'test "$TEST" = "a b" && exit 5']);
  const env = stringArray(['TEST=a b']);
  const { failure, exit } = runInChild((child) => {
    child.addAll(resetSignals());
    for (const path of ['/nonexistent/sh', '/bin/sh']) {
      child.add(execute(path, args, env), { tolerate: ['ENOENT', 'ENOTDIR'] });
    }
  });
  assert.equal(failure, undefined);
  assert.equal(exit?.status, 5);
});

test('signals: blocked while a program runs, as before when it has run', () => {
  const mask = (text: string) => /^SigBlk:\s+(\w+)$/m.exec(text)?.[1];
  const status = () => readFileSync('/proc/thread-self/status', 'latin1');
  const before = mask(status());
  const program = new SyscallProgram();
  const buffer = new Memory(4096, () => 'buffer');
  const fd = program.main.add(open({ path: '/proc/thread-self/status', flags: ['O_RDONLY'] }));
  program.main.add(read(fd, buffer));
  program.main.add(close(fd));
  using run = program.run();
  assert.equal(mask(Buffer.from(run.bytes(buffer)).toString()), 'fffffffffffbfeff');
  assert.equal(mask(status()), before);
  assert.equal(
    failureInProcess((main) => main.add(changeDirectory('/nonexistent')))?.kind,
    'NotFound',
  );
  assert.equal(mask(status()), before, 'after a failure too');
});

test('resetSignals: every disposition is the default, none is blocked', () => {
  using output = new Pipe();
  const { exit } = runInChild((child) => {
    child.addAll(resetSignals());
    child.add(duplicate(output.writeEnd.number, 1));
    const args = stringArray(['cat', '/proc/self/status']);
    child.add(execute('/bin/cat', args, stringArray([])));
  });
  assert.equal(exit?.status, 0);
  output.writeEnd.close();
  const status = readFileSync(output.readEnd.number, 'latin1');
  for (const field of ['SigBlk', 'SigIgn', 'SigCgt']) {
    assert.match(status, new RegExp(`^${field}:\\t0000000000000000$`, 'm'));
  }
});

test('decode: a report that is not of this program is refused', () => {
  const program = new SyscallProgram();
  const message = Buffer.alloc(24);
  message.writeBigUInt64LE(99n, 8);
  assert.throws(() => program.decode(message), {
    message: 'internal error: a report of step 99 of another program',
  });
});

test('results: one of another program is a mistake', () => {
  const other = new SyscallProgram().main.add(getpid, { as: 'other' });
  const failure = failureInProcess((main) => {
    main.add(getpid);
    main.add(close(other));
  });
  assert.equal(failure?.message, 'internal error: other is a result of another program');
});

test('steps: a seventh argument is a mistake', () => {
  const step: Step = { label: 'too much', call: 'getpid', args: [1, 2, 3, 4, 5, 6, 7] };
  assert.throws(() => new SyscallProgram().main.add(step), {
    message: 'internal error: "too much" has more than six arguments',
  });
});

test('strings: one with a NUL is refused before anything runs', () => {
  const failure = failureInProcess((main) => main.add(changeDirectory('/etc\0/passwd')));
  assert.equal(failure?.message, '"/etc\\u0000/passwd" contains a NUL character');
  assert.equal(failure?.kind, 'InvalidArgument');
});

test('numbers: the kernel gets 64 bits, negative and large ones too', () => {
  const value = (number: number | bigint) => {
    const program = new SyscallProgram();
    const source = new Memory(
      8,
      () => 'source',
      (view) => view.setBigInt64(0, BigInt(number), true),
    );
    program.main.add(check('same', source.field(0, 'source'), { equals: number, errno: 'EDOM' }));
    using run = program.run();
    void run;
  };
  for (const number of [
    0,
    1,
    -1,
    -100,
    2 ** 31,
    2 ** 32 + 5,
    -(2 ** 40),
    2 ** 53 - 1,
    2n ** 63n - 1n,
    -(2n ** 63n),
  ]) {
    value(number);
  }
});

test('nothing leaks: 1000 runs that succeed or fail leave descriptors, mappings, children as before', () => {
  const round = (succeeds: boolean) => {
    const { exit } = runInChild((child) => {
      child.add(open({ path: '/', flags: ['O_PATH'] }));
      if (!succeeds) child.add(changeDirectory('/nonexistent'));
    });
    assert.equal(exit?.status, succeeds ? 0 : 1);
    failureInProcess((main) => main.add(changeDirectory(succeeds ? '/nonexistent' : '.')));
  };
  for (let index = 0; index < 20; index++) round(index % 2 === 0);
  const before = possessions();
  for (let index = 0; index < 500; index++) round(index % 2 === 0);
  const after = possessions();
  assert.equal(after.descriptors, before.descriptors);
  assert.equal(after.children, before.children);
  assert.ok(
    Math.abs(after.mappings - before.mappings) < 100,
    `${before.mappings} mappings before, ${after.mappings} after`,
  );
});
